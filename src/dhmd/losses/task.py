"""The task loss, on every prediction a network makes."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from dhmd.batch import Task


def task_loss(prediction: Tensor, label: Tensor, task: Task, reduction: Literal["mean", "none"] = "mean") -> Tensor:
    """L1 for regression, cross-entropy on logits for binary and multiclass tasks.

    Args:
        prediction: (B, out_dim).
        label: (B,): a number, 0 or 1, or a class number.
        task: which of the three.
        reduction: ``mean`` over the batch, a scalar, or ``none``, (B,).

    Source:
        DMD, CVPR 2023: L1 as in the authors' code.
    """
    if task == "multiclass":
        return F.cross_entropy(prediction, label.long(), reduction=reduction)
    if task == "binary":
        return F.binary_cross_entropy_with_logits(prediction.squeeze(-1), label.to(prediction.dtype), reduction=reduction)
    return F.l1_loss(prediction.squeeze(-1), label.to(prediction.dtype), reduction=reduction)
