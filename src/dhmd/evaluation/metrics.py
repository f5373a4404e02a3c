"""The metrics of the field as pure functions, by the formulas of the DMD authors' and MMSA's code (metricsTop).

Values are fractions (0.86, not 86 %) and always finite, so that they can be written as JSON. They are compared as float32,
the precision of networks and of feature files: the SIMS borders lie on labels that occur (0.1, 0.7), where a float32 label widened
to float64 would change its class.

Defined results where the formula has none: a correlation with a constant, or over one sample, is 0; ACC2 and F1 over
an empty set (every label is exactly 0 in the non-zero convention) are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dhmd.batch import Task

Convention = Literal["mosi", "sims"]
MetricFunction = Callable[[Any, Any], dict[str, float]]
Array = NDArray[Any]

LABELS = {
    "acc2_non_zero": "ACC2 (non-zero)",
    "f1_non_zero": "F1 (non-zero)",
    "acc2_has_zero": "ACC2 (has-zero)",
    "f1_has_zero": "F1 (has-zero)",
    "acc2": "ACC2 (SIMS)",
    "f1": "F1 (SIMS)",
    "acc3": "ACC3",
    "acc5": "ACC5",
    "acc7": "ACC7",
    "mae": "MAE",
    "corr": "Corr",
    "accuracy": "Accuracy",
    "f1_weighted": "F1 (weighted)",
    "f1_macro": "F1 (macro)",
    "loss": "Loss",
}
"""Printed name of each metric, with the convention if there are two."""

LOWER_IS_BETTER = frozenset({"mae", "loss"})
NOT_A_SHARE = frozenset({"mae", "corr", "loss"})
"""Metrics printed as they are; the others are shares, printed in percent."""

_SIMS_BORDERS: dict[str, tuple[float, ...]] = {"acc2": (0.0,), "acc3": (-0.1, 0.1), "acc5": (-0.7, -0.1, 0.1, 0.7)}


def regression_metrics(prediction: Any, label: Any, convention: Convention = "mosi") -> dict[str, float]:
    """Return the metrics of a sentiment score.

    ``mosi`` (labels -3..3): ``acc2_non_zero`` and ``f1_non_zero`` drop samples whose label is exactly 0 and compare p > 0 with
    y > 0 (what DMD prints); ``acc2_has_zero`` and ``f1_has_zero`` compare p >= 0 with y >= 0; ``acc3``, ``acc5``, ``acc7`` clip
    to ±1, ±2, ±3 and round half to even; ``mae`` and ``corr`` (Pearson) on raw values. F1 is weighted by support.

    ``sims`` (labels -1..1): both are clipped to ±1 before everything, MAE and Corr too; ``acc2``, ``acc3``, ``acc5`` by
    right-closed intervals with borders 0, ±0.1 and ±0.1, ±0.7, so 0 is negative; ``f1`` weighted, of ``acc2``.

    Args:
        prediction: (N,) or (N, 1) numbers: array, tensor or list.
        label: (N,) or (N, 1) numbers.
        convention: "mosi" or "sims".

    Raises:
        ValueError: N is 0, the sizes differ, a value is NaN or infinite, or the convention is unknown.

    Example:
        >>> found = regression_metrics([0.4, -0.2, 1.6], [1.0, 0.0, 2.0])
        >>> round(found["acc2_non_zero"], 3), round(found["acc2_has_zero"], 3), round(found["mae"], 3)
        (1.0, 0.667, 0.4)
    """
    p, y = _column(prediction, "prediction"), _column(label, "label")
    _check_sizes(p, y)
    if convention == "mosi":
        return _mosi(p, y)
    if convention == "sims":
        return _sims(np.clip(p, -1, 1), np.clip(y, -1, 1))
    raise ValueError(f"convention: found {convention!r}, expected 'mosi' or 'sims'")


def classification_metrics(prediction: Any, label: Any) -> dict[str, float]:
    """Return ``accuracy``, ``f1_weighted`` (by support) and ``f1_macro`` (mean over the classes that occur as label or prediction).

    Args:
        prediction: (N, C) scores, C >= 2, the largest wins (the first of equals); or (N,) or (N, 1) logits of class 1, which wins above 0.
        label: (N,) or (N, 1) class numbers from 0.

    Raises:
        ValueError: N is 0, the sizes differ, a score is NaN or infinite, or a label is no class number.
    """
    p, y = predicted_class(prediction), _column(label, "label")
    _check_sizes(p, y)
    if (y != np.round(y)).any() or (y < 0).any():
        raise ValueError("label: expected class numbers 0, 1, ...")
    y = y.astype(np.int64)
    f1, support = _f1_by_class(p, y)
    return {"accuracy": _mean(p == y), "f1_weighted": _weighted(f1, support), "f1_macro": float(f1.mean())}


def predicted_class(prediction: Any) -> Array:
    """Return the predicted class of each row: (N, C) scores or (N,) or (N, 1) logits to (N,) class numbers.

    Raises:
        ValueError: the rank is wrong, or a score is NaN or infinite.
    """
    scores = _numpy(prediction)
    if scores.ndim == 2 and scores.shape[1] > 1:
        return np.asarray(np.argmax(_finite(scores, "prediction"), axis=1), np.int64)
    return (_column(scores, "prediction") > 0).astype(np.int64)


def sentiment_class(score: Any, limit: int = 3) -> Array:
    """Return the class of ACC7 (``limit`` 3), ACC5 (2) or ACC3 (1) as (N,) integers: scores clipped to ±limit, rounded half to even.

    >>> sentiment_class([-3.4, -0.5, 0.5, 1.5, 2.6])
    array([-3,  0,  0,  2,  3])
    """
    return np.round(np.clip(_column(score, "score"), -limit, limit)).astype(np.int64)


def metrics_for(task: Task, convention: Convention = "mosi") -> MetricFunction:
    """Return the metrics of a task, as a function of prediction and label; ``convention`` matters to regression only.

    Raises:
        ValueError: the convention is unknown.
    """
    if task != "regression":
        return classification_metrics
    if convention not in ("mosi", "sims"):
        raise ValueError(f"convention: found {convention!r}, expected 'mosi' or 'sims'")
    return partial(regression_metrics, convention=convention)


def _mosi(p: Array, y: Array) -> dict[str, float]:
    kept = y != 0
    non_zero = _two_classes(p[kept] > 0, y[kept] > 0)
    has_zero = _two_classes(p >= 0, y >= 0)
    return {
        "acc2_non_zero": non_zero[0],
        "f1_non_zero": non_zero[1],
        "acc2_has_zero": has_zero[0],
        "f1_has_zero": has_zero[1],
        **{f"acc{2 * k + 1}": _mean(sentiment_class(p, k) == sentiment_class(y, k)) for k in (1, 2, 3)},
        "mae": _mae(p, y),
        "corr": _pearson(p, y),
    }


def _sims(p: Array, y: Array) -> dict[str, float]:
    classes = {
        # right=True: a value on a border belongs to the interval below it
        name: tuple(np.digitize(x, np.asarray(borders, np.float32), right=True) for x in (p, y))
        for name, borders in _SIMS_BORDERS.items()
    }
    return {
        "acc2": _mean(classes["acc2"][0] == classes["acc2"][1]),
        "f1": _weighted(*_f1_by_class(*classes["acc2"])),
        "acc3": _mean(classes["acc3"][0] == classes["acc3"][1]),
        "acc5": _mean(classes["acc5"][0] == classes["acc5"][1]),
        "mae": _mae(p, y),
        "corr": _pearson(p, y),
    }


def _two_classes(p: Array, y: Array) -> tuple[float, float]:
    """Return accuracy and weighted F1; (0, 0) for an empty set."""
    if len(y) == 0:
        return 0.0, 0.0
    return _mean(p == y), _weighted(*_f1_by_class(p, y))


def _f1_by_class(p: Array, y: Array) -> tuple[Array, Array]:
    """Return F1 and number of labels of each class that occurs in either: F1 = 2 TP / (predicted + labelled)."""
    classes = np.union1d(p, y)[:, None]
    predicted, labelled = classes == p, classes == y
    support = labelled.sum(1)
    return 2 * (predicted & labelled).sum(1) / (predicted.sum(1) + support), support


def _weighted(f1: Array, support: Array) -> float:
    return float(np.average(f1, weights=support))


def _mean(x: Array) -> float:
    return float(np.mean(x))


def _mae(p: Array, y: Array) -> float:
    return float(np.abs(p.astype(np.float64) - y).mean())


def _pearson(p: Array, y: Array) -> float:
    if (p == p[0]).all() or (y == y[0]).all():
        return 0.0
    a, b = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in (p, y))
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))


def _numpy(x: Any) -> Array:
    return np.asarray(x.detach().cpu().float() if hasattr(x, "detach") else x)


def _finite(x: Array, name: str) -> Array:
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: {int((~np.isfinite(x)).sum())} of {x.size} values are NaN or infinite")
    return x


def _column(x: Any, name: str) -> Array:
    x = _numpy(x)
    if not (x.ndim == 1 or (x.ndim == 2 and x.shape[1] == 1)):
        raise ValueError(f"{name}: found shape {x.shape}, expected (N,) or (N, 1)")
    return _finite(x.reshape(-1), name)


def _check_sizes(p: Array, y: Array) -> None:
    if len(p) != len(y) or len(y) == 0:
        raise ValueError(f"found {len(p)} predictions and {len(y)} labels, expected as many of each and at least one")
