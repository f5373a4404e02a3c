"""Runs that take turns in one process and meet at their steps, so that what costs time is one program for all that are there.

Each run is the code of any run, in a thread of its own. One thread works at a time: a run goes on until it asks for a forward or a
backward pass, then the next does. When all have asked, what they ask for is computed together, and their turns begin anew. Runs need not
begin or end together: whoever stops early is no more waited for.
"""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from functools import lru_cache
from threading import Event, Semaphore, Thread, current_thread, main_thread
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from dhmd.batch import FeatureBatch
from dhmd.training.program import Alone, Found, Pair, forward_together

log = logging.getLogger(__name__)
T = TypeVar("T")
PREFIX = "replica "


class Ended(BaseException):
    """Raised in a run that is to end where it stands; not an Exception, so that nobody takes it for a failure of the run's own."""


class _Randomness(NamedTuple):
    """State of all generators on the host, which each run has for itself."""

    torch: Tensor
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> _Randomness:
        return cls(torch.get_rng_state(), np.random.get_state(), random.getstate())  # users' code may draw from it

    def restore(self) -> None:
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


@dataclass(frozen=True)
class _Forward:
    pair: Pair
    batch: FeatureBatch
    mode: _Mode

    @property
    def likeness(self) -> Hashable:
        """Equal for what can be one program."""
        shapes = {name: _shapes(getattr(self.batch, name)) for name in (x.name for x in fields(FeatureBatch))}
        return "forward", self.pair.training, self.mode, tuple(shapes.items())


@dataclass(frozen=True)
class _Backward:
    loss: Tensor
    likeness: Hashable = "backward"


@dataclass(frozen=True)
class _End:
    likeness: Hashable = "end"


class _Mode(NamedTuple):
    """How torch computes in the run's thread."""

    gradients: bool
    device: str
    autocast: torch.dtype | None

    @classmethod
    def of(cls, batch: FeatureBatch) -> _Mode:
        device = next(iter(batch.features.values())).device.type
        cast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        return cls(torch.is_grad_enabled(), device, cast)

    def autocasting(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device, self.autocast, enabled=self.autocast is not None)


class Beside:
    """The program of one of several runs: what it asks for, it gets when all have asked. See `dhmd.training.program.Program`."""

    def __init__(self, run: _Run[Any]) -> None:
        self._run = run
        self._pair: Pair | None = None

    def forward(self, network: nn.Module, objective: nn.Module, batch: FeatureBatch) -> Found:
        """Outputs and losses."""
        if self._pair is None or self._pair.network is not network:
            self._pair = Pair(network, objective)  # type: ignore[arg-type]
        self._pair.training = network.training  # by itself: a part that is to stay in evaluation mode does
        found: Found = self._run.ask(_Forward(self._pair, batch, _Mode.of(batch)))
        return found

    def __deepcopy__(self, memo: Any) -> Alone:
        """A copy of a module, as averaging of weights makes, is not one of the runs."""
        return Alone()

    def backward(self, loss: Tensor) -> None:
        """Backward."""
        self._run.ask(_Backward(loss))

    def end_of_validation(self) -> None:
        """Nobody waits."""

    def end_of_training(self) -> None:
        """Wait until all others have trained, so that what comes after training is not on their clocks."""
        self._run.ask(_End())


@dataclass
class _Run(Generic[T]):
    """One run: its thread, whose turn `turn` is, and what it has asked for."""

    work: Callable[[Beside], T]
    number: int
    asked: _Forward | _Backward | _End | None = None
    answer: Any = None
    outcome: T | BaseException | None = None
    randomness: _Randomness = field(default_factory=_Randomness.now)
    _go: Semaphore = field(default_factory=lambda: Semaphore(0))
    _paused: Semaphore = field(default_factory=lambda: Semaphore(0))
    _thread: Thread | None = None

    def turn(self) -> None:
        """Let it go on until it asks again or ends."""
        self.asked = None
        self.randomness.restore()
        if self._thread is None:
            threads = torch.get_num_threads()
            self._thread = Thread(target=self._work, name=f"{PREFIX}{self.number}", daemon=True)
            self._thread.start()
            self._paused.acquire()
            torch.set_num_threads(threads)  # what the run has set was for its own thread
        else:
            self._go.release()
            self._paused.acquire()
        self.randomness = _Randomness.now()

    def ask(self, request: _Forward | _Backward | _End) -> Any:
        """In the run's thread: hand over, and come back with the answer."""
        self.asked = request
        self._paused.release()
        self._go.acquire()
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def _work(self) -> None:
        torch.set_num_threads(1)  # a team of its own would wait, spinning, on the cores that the common program computes on
        try:
            self.outcome = self.work(Beside(self))
        except BaseException as error:  # whoever began the run decides
            self.outcome = error
        self._paused.release()


def run_together(works: Sequence[Callable[[Beside], T]]) -> list[T | BaseException]:
    """Do several works at once.

    Args:
        works: each is given the program it is to use.

    Returns:
        What each returned, or what it raised: one's failure is not the others'.

    Raises:
        KeyboardInterrupt: in this thread; the works are ended first, each by `Ended`.
    """
    runs = [_Run(work, number) for number, work in enumerate(works)]
    with _interrupted_between_turns() as interrupted:
        ready = runs
        while ready:
            for run in ready:
                run.turn()
                if interrupted.is_set():
                    _end(runs)
                    raise KeyboardInterrupt
            ready = _answered([run for run in runs if run.asked is not None])
    return [run.outcome for run in runs]  # type: ignore[misc]


def beside_others() -> bool:
    """Whether this thread is one of several runs'."""
    return current_thread().name.startswith(PREFIX)


def _answered(waiting: Sequence[_Run[Any]]) -> list[_Run[Any]]:
    """Compute what is asked for, as few programs as can be, and give those who go on."""
    training = [run for run in waiting if not isinstance(run.asked, _End)]
    groups: dict[Hashable, list[_Run[Any]]] = {}
    for run in training or waiting:
        if run.asked is not None:
            groups.setdefault(run.asked.likeness, []).append(run)
    for group in groups.values():
        try:
            answers = _together(group)
        except Exception as error:
            if len(group) > 1 and isinstance(group[0].asked, _Forward):
                _warn(f"{len(group)} steps could not be one program and are taken one by one: {str(error).partition(chr(10))[0]}")
            answers = [_by_itself(run, error) for run in group]
        for run, answer in zip(group, answers, strict=True):
            run.answer = answer
    return training or list(waiting)


@lru_cache(maxsize=100)
def _warn(message: str) -> None:
    """Once, not in every step."""
    log.warning(message)


def _by_itself(run: _Run[Any], error: Exception) -> Any:
    """What a run gets where several cannot be one program, and a failure that is its own alone."""
    if isinstance(run.asked, _Backward):
        return error  # what the loss was computed from is gone
    try:
        return _together([run])[0]
    except Exception as own:
        return own


def _together(group: Sequence[_Run[Any]]) -> Sequence[Any]:
    asked = [run.asked for run in group]
    if isinstance(asked[0], _Backward):
        losses = [one.loss for one in asked if isinstance(one, _Backward)]
        torch.autograd.backward([loss for loss in losses if loss.requires_grad])
        return [None if loss.requires_grad else RuntimeError("the loss depends on no parameter that is trained") for loss in losses]
    forward = [one for one in asked if isinstance(one, _Forward)]
    return _forward(group, forward) if forward else [None] * len(group)


def _forward(group: Sequence[_Run[Any]], asked: Sequence[_Forward]) -> list[Found]:
    mode = asked[0].mode
    group[0].randomness.restore()
    with torch.set_grad_enabled(mode.gradients), mode.autocasting():
        if len(group) == 1:
            one = asked[0]
            found = [Alone().forward(one.pair.network, one.pair.objective, one.batch)]
            group[0].randomness = _Randomness.now()
            return found
        generators = [torch.Generator() for _ in group]
        for generator, run in zip(generators, group, strict=True):
            generator.set_state(run.randomness.torch)
        found = forward_together([one.pair for one in asked], [one.batch for one in asked], generators)
    for generator, run in zip(generators, group, strict=True):
        run.randomness = run.randomness._replace(torch=generator.get_state())
    return found


@contextmanager
def _interrupted_between_turns() -> Iterator[Event]:
    """An interrupt waits for the end of a turn; a second one does not."""
    asked = Event()
    if current_thread() is not main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _end(runs: Sequence[_Run[Any]]) -> None:
    for run in runs:
        if run.asked is not None:
            run.answer = Ended()
            run.turn()


def _shapes(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, dict):
        return tuple((key, _shapes(one)) for key, one in value.items())
    return value  # type: ignore[no-any-return]
