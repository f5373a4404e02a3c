"""One pass over a split with a trained network: everything the record keeps of it, per sample."""

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
from dhmd.losses.task import task_loss
from dhmd.runs.arrays import EdgeRecord
from dhmd.training.validation_loss import ValidationLoss

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Predictions:
    """A split as a network sees it.

    Attributes:
        ids: of the N samples, in the split's order.
        label: (N,).
        prediction: (N, out_dim).
        loss: the monitored loss, as on validation.
        unimodal: (N, out_dim) of each unimodal head, by "<space>_<modality>".
        edges: by space.
        activations: (N, K) by space and modality.
        embeddings: (N, H) by space and modality, what enters fusion.
    """

    ids: list[str]
    label: Array
    prediction: Array
    loss: float
    unimodal: Mapping[str, Array] = field(default_factory=dict)
    edges: Mapping[str, EdgeRecord] = field(default_factory=dict)
    activations: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    embeddings: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)

    def metrics(self, task: Task, convention: Convention) -> dict[str, float]:
        """``loss`` and the task's metrics.

        Raises:
            RunError: a prediction is NaN or infinite.
        """
        try:
            return {"loss": self.loss, **metrics_for(task, convention)(self.prediction, self.label)}
        except ValueError as error:
            raise RunError(f"the predictions cannot be evaluated: {error}") from error


def collect(
    network: nn.Module,
    batches: Iterable[FeatureBatch],
    ids: Sequence[str],
    task: Task,
    loss: ValidationLoss,
    device: torch.device | str = "cpu",
) -> Predictions:
    """Run ``network`` in evaluation mode over ``batches``.

    Args:
        network: FeatureBatch to Outputs; it is moved to ``device``.
        batches: the whole split, in order.
        ids: of the split's samples, in order.
        task: what the labels are.
        loss: accumulates the monitored loss; reset here.
        device: where to compute.

    Raises:
        RunError: the data has no labels, or does not fit the network.
    """
    network = network.to(device).eval()
    loss.reset()
    parts: dict[tuple[str, ...], list[Tensor]] = {}
    edges: dict[str, EdgeRecord] = {}
    with torch.no_grad():
        for batch in batches:
            if batch.label is None:
                raise RunError("the data has no labels; evaluation needs them")
            batch = batch.to(device)
            try:
                outputs = network(batch)
            except ValueError as error:
                raise RunError(f"the data does not fit the network: {error}") from error
            loss.update(task_loss(outputs.prediction, batch.label, task, reduction="none"))  # type: ignore[arg-type]
            found: dict[tuple[str, ...], Any] = {("label",): batch.label, ("prediction",): outputs.prediction}
            for space, seen in outputs.spaces.items():
                found |= {("logits", space, m): x for m, x in (seen.logits or {}).items()}
                found |= {("activations", space, m): x for m, x in (seen.activations or {}).items()}
                found |= {("embeddings", space, m): x for m, x in seen.pooled.items()}
                if seen.edges is not None:
                    prior = None if seen.edges.prior is None else seen.edges.prior.cpu().numpy()
                    edges[space] = EdgeRecord(seen.edges.pairs, prior)
                    if seen.edges.weights is not None:
                        found["weights", space] = seen.edges.weights
            for key, value in found.items():
                parts.setdefault(key, []).append(value.cpu())
    joined = {key: torch.cat(values).numpy() for key, values in parts.items()}
    return Predictions(
        ids=list(ids),
        label=joined["label",],
        prediction=joined["prediction",],
        loss=loss.compute(),
        unimodal={f"{key[1]}_{key[2]}": value for key, value in joined.items() if key[0] == "logits"},
        edges={space: replace(one, weights=joined.get(("weights", space))) for space, one in edges.items()},
        activations=nested(joined, "activations"),
        embeddings=nested(joined, "embeddings"),
    )


def nested(joined: Mapping[tuple[str, ...], Array], kind: str) -> dict[str, dict[str, Array]]:
    """The arrays under (kind, space, modality), by space and modality."""
    found: dict[str, dict[str, Array]] = {}
    for key, value in joined.items():
        if key[0] == kind:
            found.setdefault(key[1], {})[key[2]] = value
    return found
