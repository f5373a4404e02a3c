"""Settings of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The form that gives the numbers, or a quick one that only tests that everything works.

    Attributes:
        quick: whether to use smaller problems and few calls; the numbers are then meaningless.
        repeats: number of calls that count.
        slow_repeats: number of calls that count, for work of many seconds a call.
    """

    quick: bool = False
    repeats: int = 15
    slow_repeats: int = 3


QUICK = Settings(quick=True, repeats=1, slow_repeats=1)
