"""What a linear reader finds in features: cross-validated ridge regression and logistic regression.

What is readable by a line says that the information is there and lies flat; it does not say that a network uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = NDArray[Any]
ALPHAS = tuple(10.0**k for k in range(-3, 6))


class Classification(NamedTuple):
    """Balanced accuracy (the mean over classes of the share found) and what guessing gets: 1 / number of classes."""

    accuracy: float
    chance: float


def read_out(features: Array, target: Array, groups: Array | None = None, folds: int = 5) -> float:
    """How much of a target's variance a linear reader predicts on samples it has not seen.

    R^2 = 1 - sum (y - prediction)^2 / sum (y - mean y)^2 over the predictions of all folds, by ridge regression on standardised
    features; the penalty of each target column is chosen inside the other folds by leave-one-out generalised cross-validation.

    Args:
        features: (N, F) finite numbers.
        target: (N,) or (N, P); columns count equally, constant ones are left out.
        groups: (N,) of any kind: samples of one group stay in one fold, as clips of one video must; None for each by itself.
        folds: number of folds, at most the number of groups.

    Returns:
        R^2, at most 1; 0 is what the target's mean predicts, and worse is negative.

    Raises:
        ValueError: shapes do not fit, a value is not finite, fewer than two groups, or a target that does not vary.
    """
    x, y = np.asarray(features, np.float64), np.asarray(target, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    _check(x, y)
    y = y[:, np.ptp(y, axis=0) > 0]
    if y.shape[1] == 0:
        raise ValueError("the target does not vary: there is nothing to read")
    predicted = np.empty_like(y)
    for train, test in _folds(len(x), groups, folds):
        reader = make_pipeline(StandardScaler(), RidgeCV(ALPHAS, alpha_per_target=True))
        predicted[test] = reader.fit(x[train], y[train]).predict(x[test]).reshape(len(test), -1)
    return float(np.mean(1 - ((y - predicted) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)))


def classify(features: Array, classes: Array, groups: Array | None = None, folds: int = 5) -> Classification:
    """How well a linear reader tells classes apart on samples it has not seen: logistic regression, classes weighted equally.

    Args:
        features: (N, F) finite numbers; they are standardised.
        classes: (N,) class numbers.
        groups: as in `read_out`.
        folds: as in `read_out`.

    Raises:
        ValueError: shapes do not fit, a value is not finite, fewer than two groups or fewer than two classes.
    """
    x, y = np.asarray(features, np.float64), np.asarray(classes)
    _check(x, y)
    names = np.unique(y)
    if len(names) < 2:
        raise ValueError(f"found {len(names)} class, expected two at least")
    predicted = np.empty_like(y)
    for train, test in _folds(len(x), groups, folds):
        if len(np.unique(y[train])) == 1:  # nothing to tell apart
            predicted[test] = y[train][0]
            continue
        reader = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        predicted[test] = reader.fit(x[train], y[train]).predict(x[test])
    return Classification(float(np.mean([(predicted[y == name] == name).mean() for name in names])), 1 / len(names))


def _folds(n: int, groups: Array | None, folds: int) -> Iterator[tuple[Array, Array]]:
    """Training and test rows of each fold; no randomness."""
    of = np.arange(n) if groups is None else np.asarray(groups)
    if len(of) != n:
        raise ValueError(f"found {len(of)} groups of {n} samples")
    different = len(np.unique(of))
    if different < 2 or folds < 2:
        raise ValueError(f"found {different} groups and {folds} folds, expected two of each at least")
    yield from GroupKFold(min(folds, different)).split(of, groups=of)


def _check(x: Array, y: Array) -> None:
    if x.ndim != 2 or y.ndim > 2 or len(x) != len(y):
        raise ValueError(f"found features {x.shape} and a target {y.shape}, expected (N, F) and (N,) or (N, P)")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features and target must be finite")
