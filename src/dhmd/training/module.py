"""The LightningModule: steps and logging. What a network, an objective or a window of gradients is, it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.errors import RunError
from dhmd.evaluation.metrics import Convention
from dhmd.evaluation.torchmetrics import gathered_metrics
from dhmd.losses.objective import Objective
from dhmd.losses.task import task_loss
from dhmd.outputs import Outputs
from dhmd.training.averages import EpochMeans
from dhmd.training.by_class import ByClass
from dhmd.training.distributed import Gathering
from dhmd.training.optimisation import Optimisation
from dhmd.training.seeding import seed_batch

MONITOR = "validation/loss"
"""What the learning rate, stopping and the choice of the epoch look at."""


class MultimodalModule(pl.LightningModule):
    """Trains a network on an objective and keeps the history of its epochs.

    Args:
        network: FeatureBatch to Outputs, with ``parameter_groups()``.
        objective: Outputs and label to named losses with a ``total``.
        optimisation: optimiser, schedule, accumulation and the monitored loss.
        spec: the data's specification.
        convention: of the metrics.
        seed: of everything random in training.

    Attributes:
        history: a row an epoch: ``epoch``, ``lr``, ``train/<term>``, ``validation/loss``, ``validation/<metric>``, ``validation/<term>``.
        edges: per space, the mean learned edge weights over the validation split, a list of E numbers an epoch.
        by_class: how the validation samples of each class use edges and dictionaries, by epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimisation: Optimisation,
        spec: FeatureSpec,
        convention: Convention = "mosi",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # accumulation is an object of ours; see dhmd.training.accumulation
        self.network = network
        self.objective = objective
        self.optimisation = optimisation
        self.spec = spec
        self.seed = seed
        self.metrics = gathered_metrics(spec.task, convention)
        self.history: list[dict[str, float]] = []
        self.edges: dict[str, list[list[float]]] = {}
        self.by_class = ByClass(spec)
        self._gathering = Gathering()
        self._training_means = EpochMeans()
        self._validation_means = EpochMeans()
        self._resumed: dict[str, Any] | None = None

    def forward(self, batch: FeatureBatch) -> Outputs:
        """The network's outputs."""
        outputs: Outputs = self.network(batch)
        return outputs

    def configure_optimizers(self) -> Any:
        """Adam over the network's groups, and its schedule (stepped by hand after validation)."""
        groups: dict[str, list[nn.Parameter]] = self.network.parameter_groups()  # type: ignore[operator]
        if own := list(self.objective.parameters()):  # the scale of InfoNCE
            groups["dictionaries"] = [*groups.get("dictionaries", []), *own]
        optimizer = self.optimisation.optimizer(groups)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.optimisation.scheduler(optimizer)},
        }

    # training ---------------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Take up a window of gradients and an epoch's means that a checkpoint left in their middle."""
        if self._resumed is not None:
            self.optimisation.accumulation.restore(self._resumed["accumulation"], self._trained())
            self._training_means.restore(self._resumed["means"], self.device)
            self._resumed = None

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's means."""
        self._training_means.reset()

    def on_train_batch_start(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Make the batch's randomness a function of seed, epoch and batch."""
        seed_batch(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """One micro-batch: losses, gradients, perhaps a step."""
        _, terms = self._losses(batch)
        self.optimisation.accumulation.add(terms["total"], self.manual_backward, self._optimizer, self.trainer.is_last_batch)
        self._training_means.update(terms, len(batch))
        self.log("loss", terms["total"].detach(), prog_bar=True, logger=False, batch_size=len(batch))

    def on_train_epoch_end(self) -> None:
        """Write the epoch's row and let the schedule see its validation loss."""
        row = {"epoch": float(self.current_epoch), "lr": float(self._optimizer.param_groups[0]["lr"])}
        row |= {f"train/{name}": float(mean) for name, mean in self._training_means.compute(self._total).items()}
        row |= self._validated
        self.history.append(row)
        self.log_dict({name: value for name, value in row.items() if name != "epoch" and not name.startswith("validation/")})
        cast(ReduceLROnPlateau, self.lr_schedulers()).step(row[MONITOR])

    # validation -------------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin the pass."""
        self.metrics.reset()
        self.optimisation.validation_loss.reset()
        self._validation_means.reset()

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Losses, metrics and edges of one batch."""
        outputs, terms = self._losses(batch)
        label = label_of(batch)
        self.optimisation.validation_loss.update(task_loss(outputs.prediction, label, self.spec.task, reduction="none"))
        self.metrics.update(outputs.prediction, label)
        values = {f"term/{name}": value for name, value in terms.items()}
        for space, found in outputs.spaces.items():
            if found.edges is not None and found.edges.weights is not None:
                values[f"edges/{space}"] = found.edges.weights.mean(dim=0)
        values |= self.by_class.parts(outputs, label)
        self._validation_means.update(values, len(batch))

    def on_validation_epoch_end(self) -> None:
        """Make the numbers of the pass known to callbacks and loggers.

        Raises:
            RunError: the loss is not finite.
        """
        self._gathering.finish()
        loss = self.optimisation.validation_loss.compute(self._total)
        if not torch.isfinite(torch.tensor(loss)):
            raise RunError(
                f"the validation loss is {loss} in epoch {self.current_epoch}: training has diverged; "
                "lower optimisation.lr or look for extreme values in the data"
            )
        means = self._validation_means.compute(self._total)
        row = {MONITOR: loss} | {f"validation/{name}": value for name, value in self.metrics.compute().items()}
        row |= {f"validation/{name.removeprefix('term/')}": float(m) for name, m in means.items() if name.startswith("term/")}
        self._validated = row
        if not self.trainer.sanity_checking:
            for name, mean in means.items():
                if name.startswith("edges/"):
                    self.edges.setdefault(name.removeprefix("edges/"), []).append(mean.tolist())
            self.by_class.add(means)
        self.log(MONITOR, loss, prog_bar=True)
        self.log_dict({name: value for name, value in row.items() if name != MONITOR})

    # checkpoints ------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what resuming needs beyond weights and optimiser: plain numbers and tensors only."""
        checkpoint["spec"] = spec_state(self.spec)
        checkpoint["training"] = {
            "history": self.history,
            "edges": self.edges,
            "by_class": self.by_class.state(),
            "means": self._training_means.state(),
            "accumulation": self.optimisation.accumulation.state(self._trained()),
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the history back; gradients wait for `on_train_start`, when the parameters are on their device."""
        self._resumed = checkpoint["training"]
        self.history = list(self._resumed["history"])
        self.edges = {space: list(rows) for space, rows in self._resumed["edges"].items()}
        if "by_class" in self._resumed:  # a run begun by an earlier version has none
            self.by_class.restore(self._resumed["by_class"])

    def _losses(self, batch: FeatureBatch) -> tuple[Outputs, dict[str, Tensor]]:
        """Outputs for this process's batch, and the terms of the objective for the batches of all processes."""
        outputs = self(batch)
        return outputs, self.objective(*self._gathering.whole(outputs, label_of(batch)))

    def _total(self, part: Tensor) -> Tensor:
        """Over the processes that train together."""
        total: Tensor = self.trainer.strategy.reduce(part.to(self.device), reduce_op="sum")
        return total

    @property
    def _optimizer(self) -> LightningOptimizer:
        return cast(LightningOptimizer, self.optimizers())

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]


def label_of(batch: FeatureBatch) -> Tensor:
    """The labels (B,) of a batch.

    Raises:
        RunError: it has none.
    """
    if batch.label is None:
        raise RunError("the data has no labels; training and evaluation need them")
    return batch.label


def spec_state(spec: FeatureSpec) -> dict[str, Any]:
    """The specification as plain values; ``FeatureSpec(**state)`` is the specification again."""
    return {f.name: dict(value) if isinstance(value := getattr(spec, f.name), Mapping) else value for f in fields(spec)}
