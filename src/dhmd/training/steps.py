"""Training steps: the passes over the training split in an epoch, and the work on a batch in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from dhmd.batch import FeatureBatch
from dhmd.errors import UsageError
from dhmd.losses.objective import TOTAL, Objective
from dhmd.models.base import Network, declared_groups, undecayed
from dhmd.training.optimisation import Optimisation

if TYPE_CHECKING:
    from dhmd.training.module import MultimodalModule

Losses = dict[str, Tensor]


class Step(Protocol):
    """A training step.

    Attributes:
        stages: number of passes over the training split in an epoch.
    """

    stages: int

    def optimizers(self, network: Network, objective: Objective, optimisation: Optimisation) -> list[Optimizer]:
        """Return the optimizers, each with its own schedule."""

    def __call__(self, module: MultimodalModule, batch: FeatureBatch, batch_idx: int) -> Losses:
        """Train on a batch (losses, gradients, perhaps a step of an optimizer) and return the losses by name."""


class SingleStep:
    """One pass over the training split in an epoch, with one optimizer over all parameters."""

    stages = 1

    def optimizers(self, network: Network, objective: Objective, optimisation: Optimisation) -> list[Optimizer]:
        """Return the optimizer."""
        groups = groups_of(network, objective)
        optimisation.check(groups)
        return [optimisation.optimizer(groups, undecayed(network) | undecayed(objective))]

    def __call__(self, module: MultimodalModule, batch: FeatureBatch, batch_idx: int) -> Losses:
        """Train on a batch and return the losses by name."""
        _, outputs, together, losses = module.losses(batch)
        module.descend(losses[TOTAL], last=module.trainer.is_last_batch)
        module.objective.after_backward(outputs, together, batch_idx)
        return losses


@dataclass(frozen=True)
class Stage:
    """A pass of alternating training.

    Attributes:
        groups: parameter groups that it trains.
        weights: weights of the terms that it computes; None for all terms with the objective's weights.
    """

    groups: Sequence[str]
    weights: Mapping[str, float] | None = None


class AlternatingStep:
    """Several passes over the training split in an epoch, each with its own optimizer, parameter groups and weights of the terms.

    The losses of a stage before the last are logged as ``stage<k>_total``; its terms keep their names.

    Args:
        stages: options of each `Stage`, in order.
        clip_all: whether a clipped norm includes the gradients of parameters that the stage does not train.

    Raises:
        UsageError: there are fewer than two stages, or a stage has no such option.
    """

    def __init__(self, stages: Sequence[Mapping[str, Any]], clip_all: bool = False) -> None:
        if len(stages) < 2:
            raise UsageError(f"step.stages: found {len(stages)}; expected two at least, or step=single")
        known = [f.name for f in fields(Stage)]
        for k, options in enumerate(stages):
            if unknown := sorted(set(options) - set(known)):
                raise UsageError(f"step.stages[{k}].{unknown[0]}: no such option; expected among {', '.join(known)}")
        self.each = [Stage(**options) for options in stages]
        self.stages, self.clip_all = len(stages), clip_all

    def optimizers(self, network: Network, objective: Objective, optimisation: Optimisation) -> list[Optimizer]:
        """Return the optimizer of each stage.

        Raises:
            UsageError: a stage names a term or a group that does not exist, or no stage trains a group.
        """
        groups = groups_of(network, objective)
        optimisation.check(groups)
        named = set(chain.from_iterable(stage.groups for stage in self.each))
        if left := sorted(set(groups) - named):
            raise UsageError(f"step.stages: no stage trains the group {left[0]!r}; the network has {', '.join(groups)}")
        made = []
        for k, stage in enumerate(self.each):
            if unknown := sorted(set(stage.weights or {}) - set(objective.terms)):
                raise UsageError(f"step.stages[{k}].weights.{unknown[0]}: no such term; expected among {', '.join(objective.terms)}")
            own = {name: groups[name] for name in stage.groups if name in groups}
            if not own or set(stage.groups) - {*groups, *declared_groups()}:
                raise UsageError(f"step.stages[{k}].groups: found {list(stage.groups)}; the network has {', '.join(groups)}")
            made.append(optimisation.optimizer(own, undecayed(network) | undecayed(objective)))
        return made

    def __call__(self, module: MultimodalModule, batch: FeatureBatch, batch_idx: int) -> Losses:
        """Train on a batch and return the losses by name."""
        batches = int(module.trainer.num_training_batches)
        k, following = (i * self.stages // batches for i in (batch_idx, batch_idx + 1))
        weights = self.each[k].weights
        _, outputs, together, losses = module.losses(batch, weights)
        trained = [p for p in module.parameters() if p.requires_grad]
        if module.descend(losses[TOTAL], k, last=following > k, clipped=trained if self.clip_all else None) or following > k:
            for p in trained:  # other stages do not use the gradients of parameters that this stage does not train
                p.grad = None
        module.objective.after_backward(outputs, together, batch_idx, weights)
        total = TOTAL if k == self.stages - 1 else f"stage{k}_{TOTAL}"
        return {total if name == TOTAL else name: x for name, x in losses.items()}


def groups_of(network: Network, objective: Objective) -> dict[str, list[nn.Parameter]]:
    """Return the trained parameters of a network and of its objective's terms by group."""
    groups = network.parameter_groups()
    for name, parameters in objective.parameter_groups().items():
        groups[name] = [*groups.get(name, []), *parameters]
    return groups
