"""A progress bar for work that takes longer than two seconds, on a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

PATIENCE = 2.0  # seconds

Advance = Callable[[float], None]
"""Function that is told how much more is done, in the unit of the total."""


def silent(_: float) -> None:
    """Show nothing."""


@contextmanager
def progress(what: str, total: float | None, unit: str = "bytes") -> Iterator[Advance]:
    """Show a bar on the terminal if the work in the block takes longer than `PATIENCE`.

    Args:
        what: label of the bar, a word or two.
        total: amount of work; None if unknown.
        unit: ``bytes``, or the name of the things counted.

    Yields:
        A function to call after every step.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

    count: list[ProgressColumn] = [DownloadColumn()] if unit == "bytes" else [MofNCompleteColumn(), TextColumn(unit)]
    columns = (TextColumn("{task.description}"), BarColumn(), *count, TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    timer = threading.Timer(PATIENCE, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda step: bar.advance(task, step)
    finally:
        timer.cancel()
        timer.join()  # the time of a bar that is just starting begins now
        bar.stop()


class Reading:
    """A binary file that reports how much of it is read; it has the methods that an unpickler needs."""

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes."""
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        data = self._file.readline(size)
        self._advance(len(data))
        return data

    def passed(self, size: int) -> None:
        """Report bytes that are skipped."""
        self._advance(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
