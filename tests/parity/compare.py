"""Comparison of what an adapter finds with a file of reference numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan

import numpy as np
from torch import Tensor

from tests.parity.dialect import BASELINE, Dialect, Limits, matches
from tests.parity.reference import Array, Found, Reference


@dataclass(frozen=True)
class Comparison:
    """The result for one file.

    Attributes:
        system: the system that the file is of.
        outputs: largest deviation of an output, edge or state, inf where one is missing.
        losses: largest deviation of a loss.
        gradients: largest deviation of a gradient norm, relative to the expected one with the share that is allowed at zero.
        passed_over: number of weights that our network lacks because they have no gradient, or nothing is computed from them.
        faults: what is off, one sentence each.
    """

    system: str
    outputs: float
    losses: float
    gradients: float
    passed_over: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is off."""
        return not self.faults

    @property
    def line(self) -> str:
        """The result in one line."""
        deviations = f"outputs {self.outputs:.1e}  losses {self.losses:.1e}  gradients {self.gradients:.1e}"
        return f"{self.system}  {deviations}  passed over {self.passed_over}  {'ok' if self.ok else 'off'}"


def compare(reference: Reference, found: Found, dialect: Dialect = BASELINE) -> Comparison:
    """Compare every output, loss, state, gradient norm and weight of a file with what was found.

    Args:
        reference: the file.
        found: what our network gives for it.
        dialect: of the file.
    """
    limits = dialect.limits
    faults: list[str] = []
    outputs = _compare_values(reference, found, dialect.outputs, limits.outputs, limits, faults)
    losses = _compare_values(reference, found, dialect.losses, limits.losses, limits, faults)
    gradients = _compare_gradients(reference, found, dialect, faults)
    passed_over = _compare_weights(reference, found, dialect, faults)
    return Comparison(str(dialect.system(reference)), outputs, losses, gradients, passed_over, tuple(faults))


def deviation(found: Tensor | None, expected: Array) -> float:
    """Return max |found - expected| / (1 + max |expected|); inf where it is missing, of another shape or no number."""
    if found is None or tuple(found.shape) != expected.shape:
        return inf
    if not expected.size:
        return 0.0
    wanted = expected.astype(np.float64)
    value = float(np.abs(found.detach().cpu().double().numpy() - wanted).max() / (1 + np.abs(wanted).max()))
    return inf if isnan(value) else value


def _fault(key: str, found: Tensor | None, expected: Array, value: float, limit: float) -> str:
    if found is None:
        return f"{key}: not found"
    if tuple(found.shape) != expected.shape:
        return f"{key}: found shape {tuple(found.shape)}, expected {expected.shape}"
    return f"{key}: deviation {value:.1e}, limit {limit:.0e}"


def _compare_values(
    reference: Reference, found: Found, patterns: tuple[str, ...], limit: float, limits: Limits, faults: list[str]
) -> float:
    """Return the largest deviation of a value whose key fits one of the patterns."""
    largest = 0.0
    for key, expected in reference.arrays.items():
        if matches(key, patterns):
            ours = found.values.get(key)
            value = deviation(ours, expected)
            if not value <= limits.of(key, limit):
                faults.append(_fault(key, ours, expected, value, limits.of(key, limit)))
            largest = max(largest, value)
    return largest


def _compare_gradients(reference: Reference, found: Found, dialect: Dialect, faults: list[str]) -> float:
    """Return the largest deviation of a gradient norm; a gradient that the reference does not have must be zero."""
    limits = dialect.limits
    expected = {key: array for key, array in reference.arrays.items() if matches(key, dialect.gradients)}
    largest = 0.0
    for key, array in expected.items():
        norm, value = found.values.get(key), inf
        if norm is not None and norm.numel() == array.size == 1:
            wanted = float(array.reshape(()))
            value = abs(float(norm) - wanted) / (abs(wanted) + limits.zero_gradient / limits.gradients)
        if not value <= (limit := limits.of(key, limits.gradients)):
            faults.append(_fault(key, norm, array, value, limit))
        largest = max(largest, inf if isnan(value) else value)
    prefixes = {key.split(".", 1)[0] for key in expected}
    for key, norm in found.values.items():
        if key.split(".", 1)[0] in prefixes and key not in expected and not float(norm) <= limits.zero_gradient:
            faults.append(f"{key}: found {float(norm):.1e}, the reference has no gradient there")
    return largest


def _compare_weights(reference: Reference, found: Found, dialect: Dialect, faults: list[str]) -> int:
    """Return how many idle weights our network lacks; what else one of the two lacks is a fault."""
    weights = {
        instead + key.removeprefix(prefix): array
        for prefix, instead in dialect.weights.items()
        for key, array in reference.arrays.items()
        if key.startswith(prefix)
    }
    ours = set(found.names.values())
    faults += [f"{name}: has no weight {theirs!r} in the reference" for name, theirs in found.names.items() if theirs not in weights]
    without_gradient = set(reference.config.get(dialect.without_gradient) or ())
    trained = {key.split(".", 1)[1] for key in reference.arrays if matches(key, dialect.gradients)}
    lacking = [name for name in weights if name not in ours]
    passed_over = [name for name in lacking if name in without_gradient or matches(name, dialect.no_weights)]
    shared = {name: array for name, array in weights.items() if name in ours}
    faults += [
        f"{name}: a weight of the reference that our network lacks"
        for name in lacking
        if name not in passed_over and (name in trained or not _stored_twice(weights[name], shared))
    ]
    return len(passed_over)


def _stored_twice(weight: Array, weights: Mapping[str, Array]) -> bool:
    """Return whether a weight is another name of one of ours: a module that is reachable by two paths is stored under both."""
    return any(other.shape == weight.shape and np.array_equal(other, weight) for other in weights.values())
