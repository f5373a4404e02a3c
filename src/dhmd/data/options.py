"""The options of the data module, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dhmd.data.catalog import published_files
from dhmd.data.layouts import LAYOUTS
from dhmd.data.synthetic import SyntheticOptions
from dhmd.errors import UsageError

CHOICES: dict[str, tuple[str | None, ...]] = {
    "task": ("regression", "binary", "multiclass"),
    "non_finite": ("error", "zero"),
    "tokens": ("auto", "text_bert", "raw_text"),
    "expects": (None, *published_files()),
    "layout": (None, *LAYOUTS),
}


def check_choices(**values: Any) -> None:
    """Check options that have a few allowed values.

    Raises:
        UsageError: an option has another value.
    """
    for option, value in values.items():
        if value not in CHOICES[option]:
            raise UsageError(f"data.{option}: found {value!r}, expected one of {', '.join(map(str, CHOICES[option]))}")


def synthetic_options(synthetic: Mapping[str, Any] | None, task: str) -> SyntheticOptions | None:
    """The options of the embedded corpus, with classes as the task needs them.

    Raises:
        UsageError: an option is unknown or out of range.
    """
    if synthetic is None:
        return None
    return SyntheticOptions.of({"classes": 2 if task == "binary" else 3, **synthetic})
