"""Tables of the modalities' use of a space's dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from dhmd.analysis.activations import Activations, Array, class_means, class_numbers, polarities, top_entries
from dhmd.analysis.table import ALL, Row
from dhmd.batch import Task

TOP = 50
"""Number of entries in the heat-maps and in the drift."""
SHARED = 15
"""Number of entries of each group that the overlap compares."""


def perplexity(mean: Array) -> float:
    """Return exp of the entropy of a mean activation (K,), the effective number of entries in use; 0 if nothing is active."""
    total = mean.sum()
    share = mean[mean > 0] / total
    return float(np.exp(-(share * np.log(share)).sum())) if total > 0 else 0.0


def cosine(a: Array, b: Array) -> float:
    """Return the cosine of two vectors; 0 if one of them is zero."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def jaccard(a: set[int], b: set[int]) -> float:
    """Return the Jaccard index, shared members / all members; 0 for two empty sets."""
    return len(a & b) / max(len(a | b), 1)


def dictionary_usage(activations: Mapping[str, Activations], label: Array, task: Task) -> list[Row]:
    """Return a row for each space, modality and class, and one for all samples.

    Args:
        activations: by space and modality, (N, K).
        label: (N,).
        task: the kind of label.
    """
    groups = _classes(label, task)
    return [
        {
            "space": space,
            "modality": modality,
            "class": name,
            "n": int(mask.sum()),
            "entries": a.shape[1],
            "ever_active": int((a[mask] > 0).any(axis=0).sum()),
            "active_per_sample": float((a[mask] > 0).sum(axis=1).mean()),
            "perplexity": perplexity(a[mask].mean(axis=0, dtype=np.float64)),
        }
        for space, by_modality in activations.items()
        for modality, a in by_modality.items()
        for name, mask in groups.items()
    ]


def dictionary_overlap(activations: Mapping[str, Activations], label: Array, task: Task, k: int = SHARED) -> list[Row]:
    """Return a row for each space and pair of groups; a group is a modality over all samples, or over one polarity (or class).

    All samples are compared with all samples only, polarities with each other.

    Args:
        activations: by space and modality, (N, K).
        label: (N,).
        task: the kind of label.
        k: number of entries of each group.
    """
    masks = {ALL: np.ones(len(label), bool), **polarities(label, task)}
    rows = []
    for space, by_modality in activations.items():
        groups = [(name, modality, a[mask]) for name, mask in masks.items() for modality, a in by_modality.items()]
        for (name_a, modality_a, a), (name_b, modality_b, b) in combinations(groups, 2):
            if (name_a == ALL) != (name_b == ALL):
                continue
            top_a, top_b = set(top_entries(a, k).tolist()), set(top_entries(b, k).tolist())
            ever_a, ever_b = (set(np.flatnonzero((x > 0).any(axis=0)).tolist()) for x in (a, b))
            rows.append(
                {
                    "space": space,
                    "class_a": name_a,
                    "modality_a": modality_a,
                    "class_b": name_b,
                    "modality_b": modality_b,
                    "k": k,
                    "shared_of_top": len(top_a & top_b),
                    "expected_by_chance": len(top_a) * len(top_b) / a.shape[1],
                    "jaccard_ever_active": jaccard(ever_a, ever_b),
                    "cosine_of_means": cosine(a.mean(axis=0, dtype=np.float64), b.mean(axis=0, dtype=np.float64)),
                }
            )
    return rows


def dictionary_top(activations: Mapping[str, Activations], label: Array, task: Task, k: int = TOP) -> list[Row]:
    """Return mean activations of the ``k`` entries that heat-maps show, the most active first: a row a space, entry, modality and class.

    Entries are ranked by their mean over modalities and classes, each class counted alike.

    Args:
        activations: by space and modality, (N, K).
        label: (N,).
        task: the kind of label.
        k: number of entries.
    """
    numbers = class_numbers(label, task)
    classes = np.unique(numbers).tolist()
    rows = []
    for space, by_modality in activations.items():
        means = class_means(by_modality, label, task)
        for rank, entry in enumerate(top_entries(np.mean(list(means.values()), axis=0), k).tolist(), start=1):
            for modality, mean in means.items():
                for c, row in zip(classes, mean, strict=True):
                    key: Row = {"space": space, "rank": rank, "entry": entry, "modality": modality, "class": str(c)}
                    rows.append({**key, "n": int((numbers == c).sum()), "mean_activation": float(row[entry])})
    return rows


def _classes(label: Array, task: Task) -> dict[str, Array]:
    numbers = class_numbers(label, task)
    return {ALL: np.ones(len(label), bool), **{str(c): numbers == c for c in np.unique(numbers).tolist()}}
