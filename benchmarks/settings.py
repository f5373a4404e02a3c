"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The form that gives the numbers, or a quick one that shows that everything works.

    Attributes:
        quick: smaller problems, few calls; its numbers say nothing.
        repeats: calls that count.
        slow_repeats: of what takes many seconds a call.
    """

    quick: bool = False
    repeats: int = 15
    slow_repeats: int = 3


QUICK = Settings(quick=True, repeats=1, slow_repeats=1)
