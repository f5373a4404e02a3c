"""Options that name modalities, matched with the modalities of the data.

Presets name the papers' three modalities. Data need not have them all, and may have others; so a map in a configuration may name the
modalities of the data and the papers' three, and nothing else: a misspelt name is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from dhmd.batch import LANGUAGE, MODALITIES
from dhmd.errors import UsageError
from dhmd.models.options import choose

T = TypeVar("T")


def by_modality(values: Mapping[str, T] | T, modalities: tuple[str, ...], key: str, default: T | None = None) -> dict[str, T]:
    """Return one value a modality, from a map by modality or from one value for all.

    Args:
        values: the map or the value.
        modalities: modalities of the data.
        key: key of the option, for messages.
        default: value of a modality that the map does not name; None if every modality must be named.

    Raises:
        UsageError: a modality of the data has no value, or the map names something else.
    """
    if not isinstance(values, Mapping):
        return dict.fromkeys(modalities, values)
    if unknown := [m for m in values if m not in (*modalities, *MODALITIES)]:
        raise UsageError(f"{key}: found {unknown[0]!r}, which is no modality; the data has {', '.join(modalities)}")
    found: dict[str, T] = {}
    for m in modalities:
        value = values.get(m, default)
        if value is None:
            one = next(iter(values.values()), None)
            raise UsageError(
                f"{key}: no value for the modality {m!r}; expected one for each of {', '.join(modalities)}; for example "
                f"+{key}.{m}={one} for this one, or {key}={one} for all"
            )
        found[m] = value
    return found


def language_lengths(lengths: str, modalities: tuple[str, ...]) -> bool:
    """Return whether ``model.lengths`` is ``language``: every modality is then read for as many frames as language has.

    Raises:
        UsageError: it is neither ``own`` nor ``language``, or it is ``language`` and the data has none.
    """
    choose(lengths, ("own", LANGUAGE), "model.lengths")
    if lengths == LANGUAGE and LANGUAGE not in modalities:
        raise UsageError(f"model.lengths: found {LANGUAGE}; the data has {', '.join(modalities)}; set model.lengths=own")
    return lengths == LANGUAGE
