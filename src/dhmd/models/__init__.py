"""Networks, assembled from the blocks of ``dhmd.nn``; each maps a FeatureBatch to Outputs."""

from dhmd.models.dmd.network import DecoupledDistillation
from dhmd.models.text_only import TextOnly
from dhmd.outputs import Decoupled, Edges, Outputs, Space

__all__ = ["Decoupled", "DecoupledDistillation", "Edges", "Outputs", "Space", "TextOnly"]
