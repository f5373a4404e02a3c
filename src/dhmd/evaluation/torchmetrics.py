"""The metrics as torchmetrics classes, which gather predictions and labels over batches and processes and call the pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from dhmd.batch import Task
from dhmd.evaluation.metrics import Convention, MetricFunction, metrics_for


class GatheredMetrics(Metric):
    """Every metric of a task over all samples seen, not a mean over batches.

    ``update(prediction, label)`` takes what the pure function takes; ``compute()`` returns its dict of floats.
    """

    is_differentiable = False
    full_state_update = False
    prediction: list[Tensor]
    label: list[Tensor]

    def __init__(self, function: MetricFunction) -> None:
        super().__init__()
        self.function = function
        self.add_state("prediction", default=[], dist_reduce_fx="cat")
        self.add_state("label", default=[], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Add a batch: predictions (B,), (B, 1) or (B, C) and labels (B,) or (B, 1)."""
        self.prediction.append(prediction.detach().float())
        self.label.append(label.detach().reshape(-1).float())

    def compute(self) -> dict[str, float]:
        """Return the metrics of all samples of all processes.

        Raises:
            ValueError: nothing was gathered, or a prediction is NaN or infinite.
        """
        if len(self.label) == 0:
            raise ValueError("no prediction was gathered before compute()")
        with torch.no_grad():
            return self.function(dim_zero_cat(self.prediction), dim_zero_cat(self.label))


class RegressionMetrics(GatheredMetrics):
    """`dhmd.evaluation.metrics.regression_metrics` over batches and processes."""

    def __init__(self, convention: Convention = "mosi") -> None:
        super().__init__(metrics_for("regression", convention))


class ClassificationMetrics(GatheredMetrics):
    """`dhmd.evaluation.metrics.classification_metrics` over batches and processes."""

    def __init__(self) -> None:
        super().__init__(metrics_for("multiclass"))


def gathered_metrics(task: Task, convention: Convention = "mosi") -> GatheredMetrics:
    """Return the metric class for a task; ``convention`` matters to regression only."""
    return RegressionMetrics(convention) if task == "regression" else ClassificationMetrics()
