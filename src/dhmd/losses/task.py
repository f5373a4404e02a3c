"""The task loss, on every prediction of a network, in training, validation and inference alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.outputs import Outputs


class TaskLoss(nn.Module):
    """The loss of predictions (B, out_dim) for labels (B,).

    L1 or squared error for regression, cross-entropy on logits for multiclass tasks, the same with one logit for binary ones.

    Args:
        spec: specification of the data: its task, and the number of classes.
        regression: the loss of a regression, ``l1`` (as in the DMD authors' code) or ``mse``.
        class_weights: weight of each class's samples, also in means; None for equal weights.
        label_smoothing: share of the target that is spread evenly over all classes, in [0, 1).

    Raises:
        UsageError: the loss is unknown, or options of classes are given for a regression or have the wrong size.
    """

    weights: Tensor | None

    def __init__(
        self,
        spec: FeatureSpec,
        regression: Literal["l1", "mse"] = "l1",
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if regression not in ("l1", "mse"):
            raise UsageError(f"objective.task.regression: found {regression!r}; expected l1 or mse")
        self.task, self.regression = spec.task, regression
        classes = 0 if spec.task == "regression" else max(2, spec.out_dim)
        if not classes and (class_weights is not None or label_smoothing):
            raise UsageError("objective.task: class_weights and label_smoothing are for tasks with classes; data.task is regression")
        if class_weights is not None and (len(class_weights) != classes or not all(w > 0 for w in class_weights)):
            raise UsageError(f"objective.task.class_weights: found {list(class_weights)}; expected {classes} positive numbers, one a class")
        if not 0 <= label_smoothing < 1:
            raise UsageError(f"objective.task.label_smoothing: found {label_smoothing}; expected a number from 0 to below 1")
        self.label_smoothing = float(label_smoothing)
        weights = None if class_weights is None else torch.tensor([float(w) for w in class_weights])
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the mean loss of a batch, a scalar; samples count by the weights of their classes.

        Args:
            prediction: (B, out_dim).
            label: (B,): a number, 0 or 1, or a class number.
        """
        losses, weights = self.by_sample(prediction, label)
        return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()

    def by_sample(self, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return each sample's loss (B,), and its weight (B,) in a mean; None for equal weights."""
        s = self.label_smoothing
        if self.task == "multiclass":
            losses = F.cross_entropy(prediction, label.long(), label_smoothing=s, reduction="none")
        elif self.task == "binary":
            target = label.to(prediction.dtype) * (1 - s) + s / 2
            losses = F.binary_cross_entropy_with_logits(prediction.squeeze(-1), target, reduction="none")
        else:
            error = F.l1_loss if self.regression == "l1" else F.mse_loss
            losses = error(prediction.squeeze(-1), label.to(prediction.dtype), reduction="none")
        return losses, None if self.weights is None else self.weights.to(losses.dtype)[label.long()]


class PredictionLoss:
    """The task loss of the prediction.

    Args:
        task: the task loss.
    """

    def __init__(self, task: TaskLoss) -> None:
        self.task = task

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor:
        """Return the loss, a scalar."""
        loss: Tensor = self.task(outputs.prediction, batch.labels)
        return loss


class UnimodalLoss:
    """The task loss of each unimodal head.

    Args:
        task: the task loss.
        space: only the heads of this space; None for all.
    """

    def __init__(self, task: TaskLoss, space: str | None = None) -> None:
        self.task, self.space = task, space

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> dict[str, Tensor] | None:
        """Return the losses by head; None for a network without any."""
        prefix = "" if self.space is None else f"{self.space}/"
        heads = {name.removeprefix(prefix): x for name, x in outputs.heads.items() if name.startswith(prefix)}
        return {name.replace("/", "_"): self.task(x, batch.labels) for name, x in heads.items()} or None


class SharedLoss:
    """The task loss of the head on the fused homogeneous features.

    Args:
        task: the task loss.
    """

    def __init__(self, task: TaskLoss) -> None:
        self.task = task

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None for a network without such a head."""
        logits: Tensor | None = getattr(outputs, "shared_logits", None)
        return None if logits is None else self.task(logits, batch.labels)
