"""Networks, assembled from the blocks of ``dhmd.nn``; each maps a FeatureBatch to Outputs."""

from dhmd.models.base import Citation, Network
from dhmd.models.dmd.network import DecoupledDistillation
from dhmd.models.dmd.outputs import Decoupled, DecoupledOutputs, Space
from dhmd.models.text_only import TextOnly
from dhmd.outputs import Edges, Outputs

__all__ = ["Citation", "Decoupled", "DecoupledDistillation", "DecoupledOutputs", "Edges", "Network", "Outputs", "Space", "TextOnly"]
