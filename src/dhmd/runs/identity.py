"""The table of configuration keys: which of them identify a run, which may change on resuming, which belong to the machine.

A configuration's digest, resuming, the names of sweeps and the differences that tables and the report show all ask this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from dhmd.files import json_sha256


@dataclass(frozen=True)
class Key:
    """Roles of a configuration key.

    Attributes:
        identifies: it is part of what the configuration is; runs alike in all such keys are seeds or repetitions of one configuration.
        may_change: it may differ when a run is resumed.
        names_sweep: an override of it makes another sweep, with a folder of its own.
        shown: the report lists it where runs differ in it; what a run is called by and where it lies is said elsewhere.
        of_run: it is part of a run; otherwise it says how runs are started.
    """

    identifies: bool = True
    may_change: bool = False
    names_sweep: bool = True
    shown: bool = True
    of_run: bool = True


_free = partial(Key, identifies=False, may_change=True)

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "seed": Key(identifies=False, shown=False),
        "convention": Key(),
        "evaluate_test": Key(identifies=False),
        "data": Key(),
        "data.seed": Key(identifies=False, shown=False),
        "data.path": _free(shown=False),
        "data.cache_dir": _free(shown=False, names_sweep=False),
        "data.num_workers": _free(names_sweep=False),
        "data.in_memory": _free(names_sweep=False),
        "text_encoder": Key(),
        "model": Key(),
        "objective": Key(),
        "optimisation": Key(),
        "step": Key(),
        "trainer": Key(may_change=True),
        "trainer.precision": Key(),
        "trainer.limit_train_batches": Key(),
        "trainer.overfit_batches": Key(),
        "trainer.accelerator": _free(),
        "trainer.devices": _free(),
        "callbacks": Key(may_change=True),
        "callbacks.checkpoints.dirpath": Key(may_change=True, shown=False),
        "logger": _free(names_sweep=False),
        "run_dir": _free(shown=False),
        "labels": _free(),
        "labels.model": _free(shown=False),
        "labels.ablation": _free(shown=False),
        "resume": _free(names_sweep=False, of_run=False),
        "launcher": _free(names_sweep=False, of_run=False),
        "hydra": _free(names_sweep=False, of_run=False),
        "hparams_search": _free(of_run=False),
    }
)
"""Every top-level key of conf/train.yaml, and the keys below and the groups that count otherwise. Any other key counts as its parent."""


def key_of(name: str) -> Key:
    """Return what a key counts for.

    Args:
        name: dotted, as ``data.path``; a group of Hydra's may have slashes.
    """
    parts = re.split(r"[./]", name)
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((KEYS[name] for name in names if name in KEYS), Key())


def key_of_override(override: str) -> Key:
    """Return what the key of an override as typed (``+key=value``, ``~key``, ``group@package=choice``) counts for."""
    return key_of(re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0])


def flattened(node: Mapping[str, Any], separator: str = ".", *, keep_empty: bool = False) -> dict[str, Any]:
    """Return every value of a nested mapping by its path.

    Args:
        node: the mapping.
        separator: between the keys of a path.
        keep_empty: whether an empty mapping is a value; it is left out otherwise.
    """
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and (value or not keep_empty):
            found |= {f"{key}{separator}{path}": x for path, x in flattened(value, separator, keep_empty=keep_empty).items()}
        else:
            found[str(key)] = value
    return found


def identifying(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration is, by dotted key: without seed, names and machine, and with paths as seen from the run folder."""
    run_dir = str(config.get("run_dir") or "")
    kept = {key: value for key, value in flattened(config).items() if key_of(key).identifies}
    return {key: value.replace(run_dir, "") if run_dir and isinstance(value, str) else value for key, value in kept.items()}


def digest(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what `identifying` says of a configuration; the runs of one digest are seeds of one configuration."""
    return json_sha256(identifying(config))


def learned(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top-level parts of a configuration that have a say in what is learned, as they are; an absent one is None."""
    fixed = {name.partition(".")[0] for name, key in KEYS.items() if not key.may_change} - {"evaluate_test"}  # learns nothing
    return {name: config.get(name) for name in KEYS if name in fixed}


def changed_on_resuming(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences between two configurations that a resumed run must not have, each "key (recorded ..., now ...)"."""
    before, after = flattened(recorded), flattened(now)
    return [
        f"{key} (recorded {before.get(key, 'absent')!r}, now {after.get(key, 'absent')!r})"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not key_of(key).may_change
    ]
