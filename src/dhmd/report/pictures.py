"""Pictures with their captions, and the colours that every picture of a run shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dhmd.analysis.style import class_name
from dhmd.batch import MODALITIES, Task
from dhmd.report.svg import SERIES


@dataclass(frozen=True)
class Key:
    """An item of a legend: a name, and its class of the style sheet."""

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
        note: explanation of the pictures.
        keys: the legend.
        layout: arrangement of the pictures: "small", "graphs", "medium" (two), "single", "wide".
    """

    title: str
    pictures: tuple[Picture, ...]
    note: str = ""
    keys: tuple[Key, ...] = ()
    layout: str = "small"


def kinds_of(modalities: Sequence[str]) -> dict[str, str]:
    """Return a colour class for each modality: the papers' three always have the same."""
    order = [*MODALITIES, *(name for name in modalities if name not in MODALITIES)]
    return {name: f"m{order.index(name) % SERIES}" for name in modalities}


def class_kind(number: int, task: Task) -> str:
    """Return the colour class of a label's class: sentiment from red to blue."""
    return f"s{min(max(number, -3), 3) + 3}" if task == "regression" else f"m{number % SERIES}"


def class_title(number: int, task: Task) -> str:
    """Return the name of a class in a title or legend."""
    return f"class {class_name(number, task)}"
