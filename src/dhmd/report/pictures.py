"""A picture with what is said of it, and the colours that every picture of a run shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dhmd.analysis.style import class_name
from dhmd.batch import MODALITIES, Task
from dhmd.report.svg import SERIES


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a name, and its class of the style sheet."""

    name: str
    kind: str


@dataclass(frozen=True)
class Picture:
    """A picture and its title."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Panel:
    """Pictures that belong together.

    Attributes:
        title: the heading.
        pictures: in order.
        note: how to read them.
        keys: the legend.
        layout: how they stand: "small", "graphs", "medium" (two), "single", "wide".
    """

    title: str
    pictures: tuple[Picture, ...]
    note: str = ""
    keys: tuple[Key, ...] = ()
    layout: str = "small"


def kinds_of(modalities: Sequence[str]) -> dict[str, str]:
    """A colour class a modality: the papers' three always the same."""
    order = [*MODALITIES, *(name for name in modalities if name not in MODALITIES)]
    return {name: f"m{order.index(name) % SERIES}" for name in modalities}


def class_kind(number: int, task: Task) -> str:
    """The colour class of a label's class: sentiment from red to blue."""
    return f"s{min(max(number, -3), 3) + 3}" if task == "regression" else f"m{number % SERIES}"


def class_title(number: int, task: Task) -> str:
    """A class in a title or legend."""
    return f"class {class_name(number, task)}"
