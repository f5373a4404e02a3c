"""Configurations as flat keys, without what belongs to the machine they were used on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dhmd.runs.identity import flattened, key_of
from dhmd.runs.reader import Run


def as_text(node: Mapping[str, Any]) -> dict[str, str]:
    """Every value of a nested mapping by its dotted key, as text; an empty mapping is a value."""
    values = flattened(node, keep_empty=True)
    return {key: "null" if x is None else str(x).lower() if isinstance(x, bool) else str(x) for key, x in values.items()}


def shown(run: Run) -> dict[str, str]:
    """The configuration of a run as the page shows it: the run's folder is RUN, the home folder ~."""
    names = {str(run.config.get("run_dir") or ""): "RUN", str(Path.home()): "~"}
    return {key: _renamed(value, names) for key, value in as_text(run.config).items()}


def varying(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The keys whose values are not the same in all runs, with the value of each run; an absent key is "–".

    Where a part is there in some runs and null in others, the part is named ("set" or null), and of what is below only what differs
    between the runs that have it.
    """
    configurations = [shown(run) for run in runs]
    keys = dict.fromkeys(key for configuration in configurations for key in configuration)
    found = {key: [configuration.get(key, "–") for configuration in configurations] for key in keys}
    for part in [key for key in keys if any(other.startswith(f"{key}.") for other in keys)]:
        below = [key for key in keys if key.startswith(f"{part}.")]
        found[part] = [
            "set" if value == "–" and any(key in c for key in below) else value
            for value, c in zip(found[part], configurations, strict=True)
        ]
        for key in below:
            if len({value for value, whole in zip(found[key], found[part], strict=True) if whole == "set"}) == 1:
                del found[key]
                del keys[key]
    return {key: values for key, values in found.items() if len(set(values)) > 1 and key_of(key).shown}


@dataclass(frozen=True)
class Differing:
    """A key that is not the same in all runs.

    Attributes:
        key: its dotted name.
        common: the value most runs have.
        n: how many these are.
        others: the other values, each with the names of its runs.
    """

    key: str
    common: str
    n: int
    others: tuple[tuple[str, tuple[str, ...]], ...]


def differing(runs: Sequence[Run], names: Sequence[str]) -> list[Differing]:
    """Return the keys that `varying` finds with the common value of each, and the runs that have another."""
    found = []
    for key, values in varying(runs).items():
        (common, n), *_ = Counter(values).most_common(1)
        others = dict.fromkeys(value for value in values if value != common)
        has = {value: tuple(name for name, own in zip(names, values, strict=True) if own == value) for value in others}
        found.append(Differing(key, common, n, tuple(has.items())))
    return found


def _renamed(value: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        if len(old) > 1:
            value = value.replace(old, new)
    return value
