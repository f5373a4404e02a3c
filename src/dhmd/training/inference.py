"""One pass over a split with a trained network, which returns the arrays of its outputs with a row a sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from dhmd.batch import FeatureBatch, Task
from dhmd.errors import RunError
from dhmd.evaluation.metrics import Convention, metrics_for
from dhmd.losses.task import TaskLoss
from dhmd.outputs import Outputs, heads_of, nested
from dhmd.runs.arrays import EdgeRecord
from dhmd.training.validation_loss import ValidationLoss

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Predictions:
    """Outputs of a network for a split.

    Attributes:
        ids: ids of the N samples, in the split's order.
        label: (N,).
        loss: the monitored loss, as on validation.
        arrays: arrays of `Outputs.arrays`, a row a sample.
        edges: edges of each space.
    """

    ids: list[str]
    label: Array
    loss: float
    arrays: Mapping[str, Array]
    edges: Mapping[str, EdgeRecord] = field(default_factory=dict)

    @property
    def prediction(self) -> Array:
        """Predictions (N, out_dim)."""
        return self.arrays["prediction"]

    @property
    def heads(self) -> dict[str, Array]:
        """``prediction`` and each unimodal head, (N, out_dim), by the name of its csv column."""
        return heads_of(self.arrays)

    @property
    def activations(self) -> dict[str, dict[str, Array]]:
        """Activations (N, K) by space and modality."""
        return nested(self.arrays, "activations")

    @property
    def embeddings(self) -> dict[str, dict[str, Array]]:
        """Features (N, H) that enter fusion, by space and modality."""
        return nested(self.arrays, "embeddings")

    def metrics(self, task: Task, convention: Convention) -> dict[str, float]:
        """Return ``loss`` and the task's metrics.

        Raises:
            RunError: a prediction is NaN or infinite.
        """
        try:
            return {"loss": self.loss, **metrics_for(task, convention)(self.prediction, self.label)}
        except ValueError as error:
            raise RunError(f"the predictions cannot be evaluated: {error}") from error


def predict_split(
    network: nn.Module,
    batches: Iterable[FeatureBatch],
    ids: Sequence[str],
    task_loss: TaskLoss,
    loss: ValidationLoss,
    device: torch.device | str = "cpu",
) -> Predictions:
    """Run ``network`` in evaluation mode over ``batches``.

    Args:
        network: network from FeatureBatch to Outputs; it is moved to ``device``.
        batches: the whole split, in order.
        ids: ids of the split's samples, in order.
        task_loss: the loss of a prediction.
        loss: accumulator of the monitored loss; reset here.
        device: device to compute on.

    Raises:
        RunError: the data has no labels, or does not fit the network.
    """
    network, task_loss = network.to(device).eval(), task_loss.to(device)
    loss.reset()
    labels: list[Tensor] = []
    parts: dict[str, list[Tensor]] = {}
    edges: dict[str, EdgeRecord] = {}
    with torch.no_grad():
        for batch in batches:
            batch = batch.to(device)
            try:
                outputs: Outputs = network(batch)
                loss.update(*task_loss.by_sample(outputs.prediction, batch.labels))
            except ValueError as error:
                raise RunError(f"the data does not fit the network: {error}") from error
            labels.append(batch.labels.cpu())
            for name, x in outputs.arrays().items():
                parts.setdefault(name, []).append(x.cpu())
            edges = edges or edge_records(outputs)
    arrays = {name: torch.cat(values).numpy() for name, values in parts.items()}
    return Predictions(
        ids=list(ids),
        label=torch.cat(labels).numpy(),
        loss=loss.compute(),
        arrays=arrays,
        edges={space: replace(e, weights=arrays.get(f"edges/{space}")) for space, e in edges.items()},
    )


def edge_records(outputs: Outputs) -> dict[str, EdgeRecord]:
    """Return the pairs and priors of the edges in each space, without weights."""
    return {
        space: EdgeRecord(edges.pairs, None if edges.prior is None else edges.prior.cpu().numpy()) for space, edges in outputs.edges.items()
    }
