"""What runs beside each other ask for, and how it is computed: by their own threads, or as one program.

On a processor each run's own thread computes what it asks for, beside those of others: that keeps the cores busy and a run's arrays in the
cache. Elsewhere runs meet, and what they ask for is one program, so that a kernel starts once for all of them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dhmd.batch import FeatureBatch
from dhmd.nn.replicas import by_itself
from dhmd.training.program import Alone, Found, Pair, forward_together

log = logging.getLogger(__name__)
BY_THREAD = ("cpu",)  # devices on which each run is computed by its own thread


class Randomness(NamedTuple):
    """State of all generators on the host, which each run has for itself."""

    torch: Tensor
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> Randomness:
        """As it is."""
        return cls(torch.get_rng_state(), np.random.get_state(), random.getstate())  # users' code may draw from it

    def is_now(self) -> bool:
        """Whether nothing has been drawn since."""
        now = Randomness.now()
        same = all(np.array_equal(one, other) for one, other in zip(self.numpy, now.numpy, strict=True))
        return torch.equal(self.torch, now.torch) and same and self.python == now.python

    def restore(self) -> None:
        """Go on from here."""
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


class Mode(NamedTuple):
    """How torch computes in a run's thread."""

    gradients: bool
    device: str
    autocast: torch.dtype | None

    @classmethod
    def of(cls, batch: FeatureBatch) -> Mode:
        """That of this thread, for a batch."""
        device = next(iter(batch.features.values())).device.type
        cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return cls(torch.is_grad_enabled(), device, cast)

    def autocasting(self) -> AbstractContextManager[Any]:
        """The same in another thread."""
        return torch.autocast(self.device, self.autocast, enabled=self.autocast is not None)


@dataclass(frozen=True)
class Forward:
    """Outputs and losses of a batch."""

    pair: Pair
    batch: FeatureBatch
    mode: Mode

    @property
    def likeness(self) -> Hashable:
        """Equal for what can be one program."""
        shapes = {name: _shapes(getattr(self.batch, name)) for name in (x.name for x in fields(FeatureBatch))}
        return self.pair.training, self.mode, tuple(shapes.items())

    @property
    def by_thread(self) -> bool:
        """Whether a thread computes it, beside others: not what draws from the process's own generators, one for all threads."""
        return self.mode.device in BY_THREAD and not self.pair.draws.get(self.pair.training, False)

    def look(self) -> None:
        """Find out, once for training and once for evaluation, whether it draws so: by a pass that nobody reads, in the run's turn."""
        if self.mode.device not in BY_THREAD or self.pair.training in self.pair.draws:
            return
        before = Randomness.now()
        with suppress(Exception), torch.no_grad(), by_itself(torch.Generator()):  # what fails will do so again
            Alone().forward(self.pair.network, self.pair.objective, self.batch)
        self.pair.draws[self.pair.training] = not before.is_now()
        before.restore()


@dataclass(frozen=True)
class Backward:
    """Gradients of a loss."""

    loss: Tensor


@dataclass(frozen=True)
class End:
    """All others' end of training."""


@dataclass(eq=False)
class Asking:
    """A run that may have asked for something.

    Attributes:
        asked: for what; None where it has ended.
        answer: what it gets; an exception is raised in the run.
        randomness: its generators' state.
        likeness: equal for the runs whose last forward pass was one program; None where the run computed it by itself.
    """

    asked: Forward | Backward | End | None = None
    answer: Any = None
    randomness: Randomness = field(default_factory=Randomness.now)
    likeness: Hashable = None

    def ask_for(self, request: Forward | Backward | End) -> bool:
        """Note a request, and say whether the run's own thread is to compute it."""
        self.asked = request
        if isinstance(request, Forward):
            request.look()
            self.likeness = None if request.by_thread else request.likeness
        return not isinstance(request, End) and self.likeness is None


def answer(runs: Iterable[Asking]) -> None:
    """Compute what these runs ask for, as few programs as can be, and give each its answer."""
    parts: dict[Hashable, list[Asking]] = {}
    for run in runs:
        parts.setdefault((type(run.asked), run.likeness), []).append(run)
    for part in parts.values():
        compute(part)


def compute(part: Sequence[Asking]) -> None:
    """Give some runs their answers, from one program, or from each by itself where they cannot be one."""
    try:
        answers = _together(part)
    except Exception as error:
        if len(part) == 1:
            part[0].answer = error
            return
        if isinstance(part[0].asked, Forward):
            _warn(f"{len(part)} steps could not be one program and are taken one by one: {str(error).partition(chr(10))[0]}")
        error = error.with_traceback(None)  # which holds what was computed
        answers = [_by_itself(run, error) for run in part]
    for run, found in zip(part, answers, strict=True):
        run.answer = found


@lru_cache(maxsize=100)
def _warn(message: str) -> None:
    """Once, not in every step."""
    log.warning(message)


def _by_itself(run: Asking, error: Exception) -> Any:
    """What a run gets where several cannot be one program, and a failure that is its own alone."""
    if isinstance(run.asked, Backward):
        return error  # what the loss was computed from is gone
    try:
        return _together([run])[0]
    except Exception as own:
        return own


def _together(part: Sequence[Asking]) -> Sequence[Any]:
    asked = [run.asked for run in part]
    if isinstance(asked[0], Backward):
        losses = [one.loss for one in asked if isinstance(one, Backward)]
        torch.autograd.backward([loss for loss in losses if loss.requires_grad])
        return [None if loss.requires_grad else RuntimeError("the loss depends on no parameter that is trained") for loss in losses]
    forward = [one for one in asked if isinstance(one, Forward)]
    return _forward(part, forward) if forward else [None] * len(part)


def _forward(part: Sequence[Asking], asked: Sequence[Forward]) -> list[Found]:
    first = asked[0]
    generators = [torch.Generator() for _ in part]
    for generator, run in zip(generators, part, strict=True):
        generator.set_state(run.randomness.torch)
    if not first.by_thread:
        part[0].randomness.restore()
    with torch.set_grad_enabled(first.mode.gradients), first.mode.autocasting():
        if len(part) > 1:
            found = forward_together([one.pair for one in asked], [one.batch for one in asked], generators)
        else:
            with by_itself(generators[0]) if first.by_thread else nullcontext():
                found = [Alone().forward(first.pair.network, first.pair.objective, first.batch)]
    if len(part) == 1 and not first.by_thread:
        part[0].randomness = Randomness.now()
        return found
    for generator, run in zip(generators, part, strict=True):
        run.randomness = run.randomness._replace(torch=generator.get_state())
    return found


def _shapes(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, dict):
        return tuple((key, _shapes(one)) for key, one in value.items())
    return value  # type: ignore[no-any-return]
