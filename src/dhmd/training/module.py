"""The LightningModule: steps and logging, independent of particular networks, terms of the objective and gradient windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.errors import RunError, UsageError
from dhmd.evaluation.metrics import Convention
from dhmd.evaluation.torchmetrics import gathered_metrics
from dhmd.losses.objective import Objective
from dhmd.models.base import Network
from dhmd.outputs import Outputs
from dhmd.training.averages import EpochMeans
from dhmd.training.by_class import ByClass
from dhmd.training.distributed import Gathering
from dhmd.training.optimisation import Optimisation
from dhmd.training.seeding import seed_batch
from dhmd.training.steps import Step

MONITOR = "validation/loss"
"""Name of the value that the learning rate, early stopping and the choice of the epoch monitor."""


class Computed(NamedTuple):
    """Outputs of a batch and its losses.

    Attributes:
        own: outputs for this process's batch.
        outputs: outputs for the batches of all processes.
        batch: the batches of all processes.
        losses: losses by name, with their weighted sum as ``total``.
    """

    own: Outputs
    outputs: Outputs
    batch: FeatureBatch
    losses: dict[str, Tensor]


class MultimodalModule(pl.LightningModule):
    """LightningModule that trains a network on an objective and keeps the history of its epochs.

    Args:
        network: network from FeatureBatch to Outputs.
        objective: objective from Outputs and batch to named losses with a ``total``.
        optimisation: optimizer, schedule, accumulation and the monitored loss.
        step: passes over the training split in an epoch, and the work on a batch.
        spec: the data's specification.
        convention: convention of the metrics.
        seed: seed of everything random in training.

    Attributes:
        history: one row for each epoch: ``epoch``, ``lr``, ``train/<term>``, ``validation/loss``, ``validation/<metric>``,
            ``validation/<term>``.
        edges: per space, the mean learned edge weights over the validation split, a list of E numbers an epoch.
        by_class: use of edges and dictionaries by the validation samples of each class, by epoch.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        optimisation: Optimisation,
        step: Step,
        spec: FeatureSpec,
        convention: Convention = "mosi",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # accumulation is done by dhmd.training.accumulation
        self.network = network
        self.objective = objective
        self.optimisation = optimisation
        self.step = step
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
        """Return the network's outputs."""
        outputs: Outputs = self.network(batch)
        return outputs

    def losses(self, batch: FeatureBatch, weights: Mapping[str, float] | None = None) -> Computed:
        """Return the outputs for a batch, and the terms of the objective for the batches of all processes that train together.

        Args:
            batch: batch of this process.
            weights: weights of the terms to compute; None for all terms with the objective's own weights.

        Raises:
            RunError: the batch has no labels.
        """
        if batch.label is None:
            raise RunError("the data has no labels; training and evaluation need them")
        own = self(batch)
        outputs, together = self._gathering.whole(own, batch)
        return Computed(own, outputs, together, self.objective(outputs, together, weights))

    def configure_optimizers(self) -> Any:
        """Return the step's optimizers and their schedules, which are stepped manually."""
        optimizers = self.step.optimizers(self.network, self.objective, self.optimisation)
        schedules = [self.optimisation.scheduler(optimizer, self._length) for optimizer in optimizers]
        return optimizers, [{"scheduler": schedule} for schedule in schedules if schedule is not None]

    # training ---------------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Restore a window of gradients and an epoch's means that a checkpoint saved in their middle."""
        if self._resumed is not None:
            self.optimisation.accumulation.restore(self._resumed["accumulation"], self._trained())
            self._training_means.restore(self._resumed["means"], self.device)
            self._resumed = None

    def on_train_epoch_start(self) -> None:
        """Reset the epoch's means, and call the terms' ``begin_epoch``."""
        self._training_means.reset()
        self.objective.begin_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Make the batch's randomness a function of seed, epoch and batch."""
        seed_batch(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Train on one micro-batch: losses, gradients, perhaps a step."""
        self._training_means.update(self.step(self, batch, batch_idx), len(batch))

    def descend(self, loss: Tensor, which: int = 0, *, last: bool, clipped: Sequence[Tensor] | None = None) -> bool:
        """Add a loss's gradients to the window, and step the optimizer where the window ends.

        Args:
            loss: scalar.
            which: number of the optimizer.
            last: whether this is the last micro-batch of a pass over the training split.
            clipped: parameters whose gradients are clipped together; None for the optimizer's.

        Returns:
            True if the optimizer has made a step.
        """
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        stepped = self.optimisation.accumulation.add(loss, self.manual_backward, self._optimizers[which], last, clipped)
        if stepped and self.optimisation.interval == "step":
            for schedule in self._schedules[which : which + 1]:
                schedule.step()
        return stepped

    def on_train_batch_end(self, outputs: Any, batch: FeatureBatch, batch_idx: int) -> None:
        """Have an epoch validated that ends here, inside the training split, because of ``trainer.max_steps``."""
        trainer = self.trainer
        if trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps:
            trainer.fit_loop.min_epochs = 0  # Lightning validates where a stop is asked for and nothing forbids it
            trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Write the epoch's row and give its validation loss to the schedules."""
        row = {"epoch": float(self.current_epoch), "lr": float(self._optimizers[0].param_groups[0]["lr"])}
        row |= {f"train/{name}": float(mean) for name, mean in self._training_means.compute(self._total).items()}
        row |= self._validated
        self.history.append(row)
        self.log_dict({name: value for name, value in row.items() if name != "epoch" and not name.startswith("validation/")})
        for schedule in self._schedules if self.optimisation.interval == "epoch" else ():
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(row[MONITOR])
            else:
                schedule.step()

    # validation -------------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Reset the losses, metrics and means of the pass."""
        self.metrics.reset()
        self.optimisation.validation_loss.reset()
        self._validation_means.reset()

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Evaluate one batch: losses, metrics, edges and dictionaries."""
        own, _, _, losses = self.losses(batch)
        self.optimisation.validation_loss.update(*self.objective.task.by_sample(own.prediction, batch.labels))
        self.metrics.update(own.prediction, batch.labels)
        arrays = own.arrays()
        values = {f"term/{name}": value for name, value in losses.items()}
        values |= {name: x.mean(dim=0) for name, x in arrays.items() if name.startswith("edges/")}
        values |= self.by_class.parts(arrays, batch.labels)
        self._validation_means.update(values, len(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the results of the pass for callbacks and loggers.

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
        """Add the state for resuming that is neither weights nor optimizer: plain numbers and tensors only."""
        checkpoint["spec"] = spec_state(self.spec)
        checkpoint["training"] = {
            "history": self.history,
            "edges": self.edges,
            "by_class": self.by_class.state(),
            "means": self._training_means.state(),
            "accumulation": self.optimisation.accumulation.state(self._trained()),
        }

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore the history; gradients wait for `on_train_start`, when the parameters are on their device."""
        self._resumed = checkpoint["training"]
        self.history = list(self._resumed["history"])
        self.edges = {space: list(rows) for space, rows in self._resumed["edges"].items()}
        if "by_class" in self._resumed:  # checkpoints of earlier versions have none
            self.by_class.restore(self._resumed["by_class"])

    def _total(self, part: Tensor) -> Tensor:
        """Return the total over the processes that train together."""
        total: Tensor = self.trainer.strategy.reduce(part.to(self.device), reduce_op="sum")
        return total

    def _length(self) -> int:
        """Return the length of training in the interval of the schedule: epochs or optimizer steps.

        Raises:
            UsageError: the training has no such length.
        """
        trainer, stages = self.trainer, self.step.stages
        if self.optimisation.interval == "step" and trainer.max_steps > 0:
            return trainer.max_steps // stages  # they are counted over all optimizers
        if trainer.max_epochs is None or trainer.max_epochs < 0:
            raise UsageError("optimisation.scheduler: it needs the length of training; set trainer.max_epochs")
        if self.optimisation.interval == "epoch":
            return trainer.max_epochs
        # a loader of its own: that of training must not be made before its state is restored
        batches, limit = len(trainer.datamodule.train_dataloader()), trainer.limit_train_batches  # type: ignore[attr-defined]
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        return max(1, self.optimisation.accumulation.steps(batches // stages)) * trainer.max_epochs

    @property
    def _optimizers(self) -> list[LightningOptimizer]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    @property
    def _schedules(self) -> list[LRScheduler]:
        found: Any = self.lr_schedulers()
        return found if isinstance(found, list) else [] if found is None else [found]

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.parameters() if p.requires_grad]


def spec_state(spec: FeatureSpec) -> dict[str, Any]:
    """Return the specification as plain values; ``FeatureSpec(**state)`` is the specification again."""
    return {f.name: dict(value) if isinstance(value := getattr(spec, f.name), Mapping) else value for f in fields(spec)}
