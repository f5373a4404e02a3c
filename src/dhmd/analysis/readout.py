"""Linear probes of features: cross-validated ridge regression and logistic regression.

A linear probe shows that information is present and linearly accessible; it does not show that a network uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

Array = NDArray[Any]
ALPHAS = tuple(10.0**k for k in range(-3, 6))
RARE = 5  # features that fewer training samples show (a dictionary entry, say) are not learned from


class Classification(NamedTuple):
    """Balanced accuracy (the mean over classes of the share found) and chance level: 1 / number of classes."""

    accuracy: float
    chance: float


def read_out(features: Array, target: Array, groups: Array | None = None, folds: int = 5) -> float:
    """Return the share of a target's variance that a linear probe predicts on samples it has not seen.

    R^2 = 1 - sum (y - prediction)^2 / sum (y - mean y)^2 over the predictions of all folds, by ridge regression on standardised
    features. The penalty of each target column is chosen inside the training folds, by as many inner folds that also keep groups
    together. Each feature is clipped to the range it has in the training folds, extended on both sides by the width of that range;
    features that fewer than `RARE` training samples show are left out.

    Args:
        features: (N, F) finite numbers.
        target: (N,) or (N, P); columns count equally, constant ones are left out.
        groups: (N,) of any type: samples of one group stay in one fold, as clips of one video must; None for groups of one sample.
        folds: number of folds, at most the number of groups.

    Returns:
        R^2, at most 1; 0 is the score of the target's mean, and worse predictions are negative.

    Raises:
        ValueError: shapes do not fit, a value is not finite, there are fewer than two groups, or the target does not vary.
    """
    return read_each(features, {"target": target}, groups, folds)["target"]


def read_each(features: Array, targets: Mapping[str, Array], groups: Array | None = None, folds: int = 5) -> dict[str, float]:
    """Return `read_out` of several targets by name from the same features, in the time of one.

    Raises:
        ValueError: as for `read_out`.
    """
    columns = {name: _varying(target) for name, target in targets.items()}
    y = np.concatenate(list(columns.values()), axis=1)
    r2 = 1 - ((y - _out_of_fold(features, y, groups, folds)) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    parts = np.split(r2, np.cumsum([c.shape[1] for c in columns.values()])[:-1])
    return {name: float(part.mean()) for name, part in zip(columns, parts, strict=True)}


def explained(factors: Array, features: Array, groups: Array | None = None, folds: int = 5) -> float:
    """Return the share of the features' own variance that is predicted by some factors, the reverse of `read_out`.

    1 - sum |x - prediction|^2 / sum |x - mean x|^2 over all columns together, the features x predicted from the factors as in
    `read_out`. While a factor can be read from any features that have not lost it, this measures how much of the features it accounts for.

    Args:
        factors: (N, P).
        features: (N, F), on their own scales.
        groups: as for `read_out`.
        folds: as for `read_out`.

    Raises:
        ValueError: as for `read_out`.
    """
    x = _varying(features)
    return float(1 - ((x - _out_of_fold(factors, x, groups, folds)) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


def classify(features: Array, classes: Array, groups: Array | None = None, folds: int = 5) -> Classification:
    """Return the balanced accuracy of a linear probe on samples it has not seen: logistic regression, classes weighted equally.

    Args:
        features: (N, F) finite numbers; treated as in `read_out`.
        classes: (N,) class numbers.
        groups: as for `read_out`.
        folds: as for `read_out`.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or there are fewer than two groups or two classes.
    """
    x, y = np.asarray(features, np.float64), np.asarray(classes)
    _check(x, y)
    names = np.unique(y)
    if len(names) < 2:
        raise ValueError(f"found {len(names)} class, expected two at least")
    predicted = np.empty_like(y)
    for train, test in _folds(len(x), groups, folds):
        if len(np.unique(y[train])) == 1:  # nothing to distinguish
            predicted[test] = y[train][0]
            continue
        seen, new = _scaled(x[train], x[test])
        predicted[test] = LogisticRegression(class_weight="balanced", max_iter=2000).fit(seen, y[train]).predict(new)
    return Classification(float(np.mean([(predicted[y == name] == name).mean() for name in names])), 1 / len(names))


def _out_of_fold(features: Array, y: Array, groups: Array | None, folds: int) -> Array:
    x = np.asarray(features, np.float64)
    _check(x, y)
    predicted = np.empty_like(y)
    for train, test in _folds(len(x), groups, folds):
        alpha = _penalties(x[train], y[train], None if groups is None else np.asarray(groups)[train], folds)
        (predicted[test],) = _ridge(x[train], x[test], y[train], alpha[None])
    return predicted


def _varying(target: Array) -> Array:
    """Return the columns of (N, P) that vary."""
    y = np.asarray(target, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    y = y[:, ~(np.ptp(y, axis=0) == 0)]  # NaN is refused later
    if y.shape[1] == 0:
        raise ValueError("the target does not vary: there is nothing to read")
    return y


def _folds(n: int, groups: Array | None, folds: int) -> Iterator[tuple[Array, Array]]:
    """Return training and test rows of each fold; nothing is random."""
    of = np.arange(n) if groups is None else np.asarray(groups)
    if len(of) != n:
        raise ValueError(f"found {len(of)} groups of {n} samples")
    different = len(np.unique(of))
    if different < 2 or folds < 2:
        raise ValueError(f"found {different} groups and {folds} folds, expected two of each at least")
    yield from GroupKFold(min(folds, different)).split(of, groups=of)


def _scaled(seen: Array, new: Array) -> tuple[Array, Array]:
    """Return both arrays scaled by mean and deviation of the first, without rare and constant features; a column of zeros if all are."""
    kept = (seen != np.median(seen, axis=0)).sum(axis=0) >= min(RARE, len(seen) // 2)
    kept &= np.ptp(seen, axis=0) > 0
    if not kept.any():
        return np.zeros((len(seen), 1)), np.zeros((len(new), 1))
    seen = seen[:, kept]
    low, high = seen.min(axis=0), seen.max(axis=0)
    new = np.clip(new[:, kept], 2 * low - high, 2 * high - low)
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    return (seen - mean) / deviation, (new - mean) / deviation


def _ridge(seen: Array, new: Array, y: Array, alphas: Array) -> Iterator[Array]:
    """Return predictions (n, P) of new (n, F) from seen (N, F), both unscaled, and targets (N, P), by row of penalties (A, 1 or P)."""
    seen, new = _scaled(seen, new)
    mean = y.mean(axis=0)
    if len(seen) < seen.shape[1]:  # the smaller of the two products has the same eigenvalues
        values, vectors = np.linalg.eigh(seen @ seen.T)
        basis, projected = new @ (seen.T @ vectors), vectors.T @ (y - mean)
    else:
        values, vectors = np.linalg.eigh(seen.T @ seen)
        basis, projected = new @ vectors, vectors.T @ (seen.T @ (y - mean))
    for alpha in alphas:
        yield mean + basis @ (projected / (np.maximum(values, 0)[:, None] + alpha))


def _penalties(x: Array, y: Array, groups: Array | None, folds: int) -> Array:
    """Return the penalty (P,) of each target column with the least squared error on left-out groups.

    Features that only identify a group therefore earn no weight.

    A single group is divided by its samples; a single sample gets the largest penalty.
    """
    groups = None if groups is None or len(np.unique(groups)) < 2 else groups
    if len(x) < 2:
        return np.full(y.shape[1], ALPHAS[-1])
    grid = np.asarray(ALPHAS)[:, None]
    errors = np.zeros((len(grid), y.shape[1]))
    for train, test in _folds(len(x), groups, folds):
        errors += [((y[test] - predicted) ** 2).sum(axis=0) for predicted in _ridge(x[train], x[test], y[train], grid)]
    least: Array = grid[np.argmin(errors, axis=0), 0]
    return least


def _check(x: Array, y: Array) -> None:
    if x.ndim != 2 or y.ndim > 2 or len(x) != len(y):
        raise ValueError(f"found features {x.shape} and a target {y.shape}, expected (N, F) and (N,) or (N, P)")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features and target must be finite")
