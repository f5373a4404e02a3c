"""Runs that take turns in one process and meet at their steps, so that what costs time is computed for all that are there at once.

Each run is the code of any run, in a thread of its own. One thread works at a time: a run goes on until it asks for a forward or a
backward pass, then the next does. When all have asked, what they ask for is computed together, and their turns begin anew. Runs need not
begin or end together: whoever stops early is no more waited for.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Semaphore, Thread, current_thread, main_thread
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dhmd.batch import FeatureBatch
from dhmd.training.meeting import Asking, Backward, End, Forward, Mode, Randomness, answer
from dhmd.training.program import Alone, Found, Pair

T = TypeVar("T")
PREFIX = "replica "


class Ended(BaseException):
    """Raised in a run that is to end where it stands; not an Exception, so that nobody takes it for a failure of the run's own."""


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
        found: Found = self._run.ask(Forward(self._pair, batch, Mode.of(batch)))
        return found

    def __deepcopy__(self, memo: Any) -> Alone:
        """A copy of a module, as averaging of weights makes, is not one of the runs."""
        return Alone()

    def backward(self, loss: Tensor) -> None:
        """Backward."""
        self._run.ask(Backward(loss))

    def end_of_validation(self) -> None:
        """Nobody waits."""

    def end_of_training(self) -> None:
        """Wait until all others have trained, so that what comes after training is not on their clocks."""
        self._run.ask(End())


class _Run(Asking, Generic[T]):
    """One run: its thread, whose turn `turn` is, and what it has asked for."""

    def __init__(self, work: Callable[[Beside], T], number: int) -> None:
        super().__init__()
        self.work, self.number = work, number
        self.outcome: T | BaseException | None = None
        self._go, self._paused = Semaphore(0), Semaphore(0)
        self._thread: Thread | None = None

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
        self.randomness = Randomness.now()

    def ask(self, request: Forward | Backward | End) -> Any:
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
    count = torch.get_num_threads()
    with _interrupted_between_turns() as interrupted, ThreadPoolExecutor(count) as threads:
        ready = runs
        while ready:
            for run in ready:
                run.turn()
                if interrupted.is_set():
                    _end(runs)
                    raise KeyboardInterrupt
            waiting = [run for run in runs if run.asked is not None]
            ready = [run for run in waiting if not isinstance(run.asked, End)] or waiting
            answer(ready, threads, count)
    return [run.outcome for run in runs]  # type: ignore[misc]


def beside_others() -> bool:
    """Whether this thread is one of several runs'."""
    return current_thread().name.startswith(PREFIX)


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
