"""Runs that train beside each other in one process.

Each run is the code of any run, in a thread of its own, and threads take turns: a run goes on until it asks for a forward or a backward
pass, then the next does. Some passes a thread computes by itself while others have their turns; others are computed as one program once
all have asked (`dhmd.training.meeting`). Runs need not begin or end together: whoever stops early is no more waited for.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Semaphore, Thread, current_thread, main_thread
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dhmd.batch import FeatureBatch
from dhmd.training.meeting import Asking, Backward, End, Forward, Mode, Randomness, answer, compute
from dhmd.training.program import Alone, Found, Pair

T = TypeVar("T")
PREFIX = "replica "


class _Interrupted(Exception):
    """A first Ctrl-C, between two turns."""


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


class _Threads:
    """The threads of torch that runs share: each has its part of them, and no more compute at once than there are."""

    def __init__(self, runs: int) -> None:
        self.all = torch.get_num_threads()
        self.of_one = max(1, self.all // runs)
        self.free = Semaphore(self.all // self.of_one)


class _Run(Asking, Generic[T]):
    """One run: its thread, whose turn `turn` is, and what it has asked for."""

    def __init__(self, work: Callable[[Beside], T], number: int, threads: _Threads, ready: SimpleQueue[_Run[T]]) -> None:
        super().__init__()
        self.work, self.number = work, number
        self.outcome: T | BaseException | None = None
        self.meets, self._computes, self._ended = False, False, False
        self._threads, self._ready = threads, ready
        self._go, self._paused = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._work, name=f"{PREFIX}{number}", daemon=True)

    @property
    def begun(self) -> bool:
        """Whether it has had a turn."""
        return self._thread.ident is not None

    def turn(self) -> None:
        """Let it go on until it asks again or ends."""
        self.asked = None
        self.randomness.restore()
        if self.begun:
            self._go.release()
        else:
            self._thread.start()
        self._paused.acquire()

    def end(self) -> None:
        """End it where it stands: it gets `Ended`, now and whenever it asks again."""
        self._ended = True
        if self.begun:
            self._go.release()
            self._paused.acquire()

    def ask(self, request: Forward | Backward | End) -> Any:
        """In the run's thread: hand over, and come back with the answer."""
        if self._ended:
            raise Ended
        by_itself = self.ask_for(request)
        self.meets, self.randomness = not by_itself, Randomness.now()
        self._paused.release()
        if by_itself:
            if not self._computes:
                self._threads.free.acquire()
                self._computes = True
            try:
                compute([self])
            except BaseException as error:  # an exit, say: it is the run's own, too
                self.answer = error
        if not by_itself or not (isinstance(request, Forward) and request.mode.gradients):
            self._stop_computing()  # but not before the backward pass: what it needs is in the cache, and memory is for few at once
        if by_itself:
            self._ready.put(self)
        self._go.acquire()
        if self._ended:
            raise Ended
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def _work(self) -> None:
        torch.set_num_threads(self._threads.of_one)
        try:
            self.outcome = self.work(Beside(self))
        except BaseException as error:  # whoever began the run decides
            self.outcome = error
        self._stop_computing()
        self.asked = None
        self._paused.release()

    def _stop_computing(self) -> None:
        if self._computes:
            self._computes = False
            self._threads.free.release()


def run_together(works: Sequence[Callable[[Beside], T]]) -> list[T | BaseException]:
    """Do several works at once.

    Args:
        works: each is given the program it is to use.

    Returns:
        What each returned, or what it raised: one's failure is not the others'.

    Raises:
        KeyboardInterrupt: in this thread; the works are ended first, each by `Ended`.
    """
    threads, ready = _Threads(len(works)), SimpleQueue[_Run[T]]()
    runs = [_Run(work, number, threads, ready) for number, work in enumerate(works)]
    living, waiting = list(runs), list[_Run[T]]()
    for run in runs:
        ready.put(run)
    try:
        with _interrupted_between_turns() as interrupted:
            while living:
                run = ready.get()
                waiting.append(run)  # what fails in its turn finds it here
                run.turn()
                if run.asked is None:
                    living.remove(run)
                if run.asked is None or not run.meets:
                    waiting.remove(run)
                if interrupted.is_set():
                    raise _Interrupted
                if len(waiting) == len(living):
                    waiting = _met(waiting, threads, ready)
    except KeyboardInterrupt:  # the second: whoever's turn it is goes on
        raise
    except BaseException as error:
        for run in waiting:
            run.end()
        for _ in range(len(living) - len(waiting)):
            ready.get().end()  # one by one: the next may wait for what this one holds
        if isinstance(error, _Interrupted):
            raise KeyboardInterrupt from None
        raise
    finally:
        torch.set_num_threads(threads.all)
    return [run.outcome for run in runs]  # type: ignore[misc]


def _met(waiting: list[_Run[T]], threads: _Threads, ready: SimpleQueue[_Run[T]]) -> list[_Run[T]]:
    """Let runs go on that all wait, those that have trained to the end only after all others; return who waits on."""
    going = [run for run in waiting if not isinstance(run.asked, End)] or waiting
    torch.set_num_threads(threads.all)
    answer(going)
    torch.set_num_threads(threads.of_one)  # some libraries have one number for all threads
    for run in going:
        ready.put(run)
    return [run for run in waiting if run not in going]


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
