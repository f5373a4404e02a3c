"""Losses: one formula a file, torch alone; the objective owns their weights."""

from dhmd.losses.decoupling import Cycle, Orthogonality, Reconstruction
from dhmd.losses.graph_distillation import LogitDistillation, Regularity, RepresentationDistillation
from dhmd.losses.margin import Margin
from dhmd.losses.matching import Matching
from dhmd.losses.objective import Objective, Term
from dhmd.losses.task import PredictionLoss, SharedLoss, TaskLoss, UnimodalLoss

__all__ = [
    "Cycle",
    "LogitDistillation",
    "Margin",
    "Matching",
    "Objective",
    "Orthogonality",
    "PredictionLoss",
    "Reconstruction",
    "Regularity",
    "RepresentationDistillation",
    "SharedLoss",
    "TaskLoss",
    "Term",
    "UnimodalLoss",
]
