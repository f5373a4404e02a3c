"""The option ``data.modalities``: the modalities that are read, their names and their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dhmd.batch import name_fault
from dhmd.data.layouts import KEYS
from dhmd.data.layouts.folder import modality_keys
from dhmd.errors import UsageError, data_error

Wanted = Mapping[str, str] | Sequence[str]
"""A map of names to keys, or a list of names whose keys are the layout's own; in modality order."""


def check_wanted(wanted: Wanted | None) -> Wanted | None:
    """Return the modalities of ``data.modalities`` in plain types; None for the layout's own.

    Raises:
        UsageError: the option is neither a map of strings nor a list of names, or a name cannot name a modality.
    """
    expected = "expected a list of names, [vision,acoustic], or a map of names to keys, {language: text, gesture: pose}"
    if not wanted:
        return None
    if isinstance(wanted, str) or not isinstance(wanted, Mapping | Sequence):
        raise UsageError(f"data.modalities: found {wanted!r}; {expected}")
    keys = wanted.values() if isinstance(wanted, Mapping) else ()
    if odd := [x for x in (*wanted, *keys) if not isinstance(x, str)]:
        raise UsageError(f"data.modalities: found {odd[0]!r}; {expected}")
    for name in wanted:
        if fault := name_fault(name):
            raise UsageError(f"data.modalities: {name!r} {fault}")
    if repeated := [name for name in wanted if list(wanted).count(name) > 1]:
        raise UsageError(f"data.modalities: {repeated[0]!r} is there twice")
    return dict(wanted) if isinstance(wanted, Mapping) else list(wanted)


def keys_in(path: Path, wanted: Wanted | None) -> dict[str, str] | None:
    """Return the key of a pickle, or the file of a folder, that holds each modality; None for the layout's own."""
    if wanted is None or isinstance(wanted, Mapping):
        return None if wanted is None else dict(wanted)
    own: Mapping[str, str] = modality_keys(path) if path.is_dir() else KEYS
    return {name: own.get(name, name) for name in wanted}


def chosen(there: dict[str, str], wanted: Wanted | None, path: Path) -> dict[str, str]:
    """Return the requested modalities of a store, in the requested order.

    Args:
        there: all modalities of the store, with the keys they had in the store's source.
        wanted: names of the requested modalities; a map must name the same keys, because a store knows its modalities by name.
        path: the store, for messages.

    Raises:
        DataError: the store lacks a modality.
    """
    if not wanted:
        return there
    for name in wanted:
        key = wanted[name] if isinstance(wanted, Mapping) else name
        if name not in there or key not in (name, there[name]):
            raise data_error(
                path,
                name,
                found=f"no modality {name} of the key {key}; there are {', '.join(f'{n}: {k}' for n, k in there.items())}",
                expected="modalities that are there, as data.modalities names them",
                do="choose among these; for other names, give the file that the store was made from",
            )
    return {name: there[name] for name in wanted}
