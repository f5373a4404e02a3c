"""Options from conf/model, converted to typed values; errors name the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import inf
from typing import Any, TypeVar, get_args, get_type_hints

from dhmd.errors import UsageError

T = TypeVar("T")
MAX_RATE = 0.99  # upper limit of dropout: at 1 nothing is left


def parse(kind: type[T], values: Any, key: str) -> T:
    """Return an options object made from a mapping of a configuration.

    Raises:
        UsageError: a key is unknown, or a value is not among the choices or of another type.
    """
    if isinstance(values, kind):
        return values
    if not isinstance(values, Mapping):
        raise UsageError(f"{key}: found {values!r}; expected a map of options")
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(names)):
        raise UsageError(f"{key}.{unknown[0]}: no such option; expected among {', '.join(names)}")
    checked = {name: _check(hints[name], value, f"{key}.{name}") for name, value in values.items()}
    options = kind(**checked)
    for name, (low, high) in getattr(kind, "RANGES", {}).items():
        if getattr(options, name) is not None:
            within(getattr(options, name), low, high, f"{key}.{name}")
    return options


def within(value: float, low: float, high: float, key: str) -> None:
    """Check that low <= value <= high.

    Raises:
        UsageError: the value is outside, or is no number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{key}: found {value!r}; expected a number")
    if not low <= value <= high:
        raise UsageError(f"{key}: found {value}; expected {f'at least {low}' if high == inf else f'from {low} to {high}'}")


def whole(value: Any, key: str) -> None:
    """Check that a value is a whole number from 1 on.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{key}: found {value!r}; expected a whole number, 1 at least")


def _check(hint: Any, value: Any, key: str) -> Any:
    if options := [h for h in get_args(hint) if is_dataclass(h) and isinstance(h, type)]:  # a stage, or None for none
        return None if value is None or value is False else value if callable(value) else parse(options[0], value, key)
    if choices := _choices(hint):
        return choose(value, choices, key)
    if hint is bool and not isinstance(value, bool):
        raise UsageError(f"{key}: found {value!r}; expected true or false")
    if hint in (int, float) and (isinstance(value, bool) or not isinstance(value, (int, hint))):
        raise UsageError(f"{key}: found {value!r}; expected {'a whole number' if hint is int else 'a number'}")
    return value


def _choices(hint: Any) -> tuple[str, ...]:
    args = get_args(hint)
    return args if args and all(isinstance(a, str) for a in args) else ()


def choose(value: Any, choices: Sequence[str], key: str) -> Any:
    """Return the value if it is one of the choices.

    Raises:
        UsageError: it is not one of them.
    """
    if value not in choices:
        raise UsageError(f"{key}: found {value!r}; expected one of {', '.join(choices)}")
    return value
