"""Options that name modalities, read against the modalities that the data has.

Presets name the papers' three modalities. Data need not have them all, and may have others; so a map in a configuration may name the
modalities of the data and the papers' three, and nothing else: a misspelt name is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dhmd.batch import LANGUAGE, MODALITIES, FeatureSpec
from dhmd.errors import UsageError
from dhmd.nn.graph_distillation import prior_of_text

T = TypeVar("T")


def by_modality(values: Mapping[str, T] | T, modalities: tuple[str, ...], key: str, default: T | None = None) -> dict[str, T]:
    """One value a modality, from a map by modality or from one value for all.

    Args:
        values: the map or the value.
        modalities: of the data.
        key: of the option, for messages.
        default: for a modality that the map does not name; None where every one must be named.

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


def prior_of(prior: Mapping[str, float] | str | bool | None, modalities: tuple[str, ...], key: str) -> dict[str, float] | None:
    """The prior as the Graph Distillation Unit takes it, from what a configuration says.

    In a map, edges from or to one of the papers' three modalities that the data does not have are left out, as presets name them. A text
    takes the place of a whole map, so every edge that it names must be there.

    Args:
        prior: a map, a text (``dhmd.nn.graph_distillation.prior_of_text``), or False or None for none.
        modalities: of the data.
        key: of the option, for messages.

    Raises:
        UsageError: it is none of these.
    """
    if prior is None or prior is False:
        return None
    if isinstance(prior, str):
        try:
            return prior_of_text(prior)
        except ValueError as e:
            raise UsageError(f"{key}: {e}") from e
    if not isinstance(prior, Mapping):
        raise UsageError(f'{key}: found {str(prior).lower()}; expected false for none, a text or a map "teacher->student: value"')
    known, absent = {*modalities, *MODALITIES}, set(MODALITIES) - set(modalities)
    ends = {name: str(name).split("->") for name in prior}
    left_out = {n for n, e in ends.items() if len(set(e)) == len(e) == 2 and set(e) <= known and set(e) & absent}
    return {name: value for name, value in prior.items() if name not in left_out}


def refuse_unread_text(text_encoder: Any, spec: FeatureSpec) -> None:
    """Check that there is a language for a text encoder to make.

    Raises:
        UsageError: there is an encoder, and the data's modalities are without language.
    """
    if text_encoder.needs_tokens and LANGUAGE not in spec.dims:
        raise UsageError(
            f"text_encoder: found an encoder, which makes features of the modality {LANGUAGE!r}; the data has "
            f"{', '.join(spec.modalities)}; set text_encoder=features, or have {LANGUAGE} among data.modalities"
        )
