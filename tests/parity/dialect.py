"""Dialects of reference files: how a file is told, what its keys mean, and how far our numbers may be from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.parity.reference import Reference


@dataclass(frozen=True)
class Limits:
    """Greatest deviations that are still right.

    Attributes:
        outputs: of outputs, edges and states, max |found - expected| / (1 + max |expected|).
        losses: of losses, likewise.
        gradients: of a gradient norm, relative to the expected one.
        zero_gradient: of a gradient norm, on top of that; what counts as no gradient.
        special: limits of single keys, by pattern, in place of those above.
    """

    outputs: float = 2e-6
    losses: float = 1e-5
    gradients: float = 1e-4
    zero_gradient: float = 1e-7
    special: Mapping[str, float] = field(default_factory=dict)

    def of(self, key: str, otherwise: float) -> float:
        """Return the limit of a key; ``otherwise`` where it has none of its own."""
        return next((limit for pattern, limit in self.special.items() if fnmatchcase(key, pattern)), otherwise)


@dataclass(frozen=True)
class Dialect:
    """A kind of reference files.

    An adapter module of another dialect than `BASELINE` names it as ``DIALECT``.

    Attributes:
        system: the system that a file is of; None for a file of another dialect.
        weights: the prefixes of the keys of weights, each with what takes its place in the names of gradient norms and in `Found.names`.
        outputs: patterns of the keys that are compared as outputs.
        limits: of deviations.
        without_gradient: key of the configuration that lists the weights that the total gives no gradient.
        no_weights: patterns of the names of weights that nothing is computed from, which our network may lack.
    """

    system: Callable[[Reference], str | None]
    weights: Mapping[str, str] = field(default_factory=lambda: {"model.": ""})
    outputs: tuple[str, ...] = ("out.*", "edges_*", "after.*")
    limits: Limits = field(default_factory=Limits)
    without_gradient: str = "no_grad"
    no_weights: tuple[str, ...] = ()

    losses = ("loss.*",)
    gradients = ("gradnorm.*", "gradnorm_*.*")
    inputs = ("in.*",)

    def unknown(self, reference: Reference) -> list[str]:
        """Return the keys of a file that mean nothing in this dialect."""
        known = (*self.inputs, *self.outputs, *self.losses, *self.gradients, *(f"{prefix}*" for prefix in self.weights))
        return [key for key in reference.arrays if not matches(key, known)]


def matches(key: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a key fits one of the patterns."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _baseline(reference: Reference) -> str | None:
    told = "loss.total" in reference.arrays and "weights" in reference.config
    system = reference.config.get("system") if told else None
    return system if isinstance(system, str) else None


BASELINE = Dialect(_baseline, limits=Limits(special={"out.label*": 1e-5, "out.center*": 1e-5}))
"""Files of one system each, named in the configuration beside the weights of the terms of its total."""
