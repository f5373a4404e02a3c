"""The options of the data module, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dhmd.data.catalog import published_files
from dhmd.data.layouts import layouts
from dhmd.data.synthetic import SyntheticOptions
from dhmd.errors import UsageError

CHOICES: dict[str, tuple[str | None, ...]] = {
    "task": ("regression", "binary", "multiclass"),
    "non_finite": ("error", "zero"),
    "tokens": ("auto", "text_bert", "raw_text"),
    "expects": (None, *published_files()),
}


def check_choices(**values: Any) -> None:
    """Check options that have a few allowed values.

    Raises:
        UsageError: an option has another value.
    """
    for option, value in values.items():
        choices = (None, *layouts()) if option == "layout" else CHOICES[option]  # layouts of extensions are known when asked for
        if value not in choices:
            raise UsageError(f"data.{option}: found {value!r}, expected one of {', '.join(map(str, choices))}")


def synthetic_options(synthetic: Mapping[str, Any] | None, task: str) -> SyntheticOptions | None:
    """The options of the embedded corpus, with classes as the task needs them.

    Raises:
        UsageError: an option is unknown or out of range.
    """
    if synthetic is None:
        return None
    return SyntheticOptions.of({"classes": 2 if task == "binary" else 3, **synthetic})
