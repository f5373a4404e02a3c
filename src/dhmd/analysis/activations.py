"""Use of a space's dictionary by the modalities: number of entries, entries by class, and shared entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dhmd.analysis.style import class_name, colours, drawing, new_figure
from dhmd.batch import Task
from dhmd.evaluation.metrics import sentiment_class

Array = NDArray[Any]
Activations = Mapping[str, Array]
"""Sparse, non-negative activations (N, K) by modality."""


def activation_classes(label: Array, task: Task) -> dict[str, Array]:
    """Return the classes that activations are grouped by, as (N,) masks: seven sentiment classes or the task's; empty ones are omitted."""
    numbers = class_numbers(label, task)
    return {class_name(c, task): numbers == c for c in np.unique(numbers).tolist()}


def class_numbers(label: Array, task: Task) -> Array:
    """Return class numbers (N,): the seven sentiment classes of ACC7, or the task's classes."""
    return sentiment_class(label) if task == "regression" else label.astype(np.int64)


def polarities(label: Array, task: Task) -> dict[str, Array]:
    """Return (N,) masks of negative and positive sentiment, or of the classes; empty ones are left out."""
    masks = {"negative": label < 0, "positive": label > 0} if task == "regression" else activation_classes(label, task)
    return {name: mask for name, mask in masks.items() if mask.any()}


def top_entries(activation: Array, k: int) -> Array:
    """Return the at most ``k`` entries of highest mean activation that are ever active, highest first. (N, K) -> (k,)."""
    mean = activation.mean(axis=0)
    order = np.argsort(-mean, kind="stable")[:k]
    return np.asarray(order[mean[order] > 0])


def class_means(activations: Activations, label: Array, task: Task) -> dict[str, Array]:
    """Return the mean activation in each non-empty class, in rising order of the classes: (C, K) by modality."""
    masks = activation_classes(label, task).values()
    return {modality: np.stack([a[mask].mean(axis=0) for mask in masks]) for modality, a in activations.items()}


def shared_top_entries(activations: Activations, masks: Mapping[str, Array], k: int = 15) -> tuple[list[tuple[str, str]], Array]:
    """Return the number of top ``k`` entries that each two groups share.

    Args:
        activations: by modality (N, K).
        masks: mask (N,) of each group of samples, by name.
        k: number of entries of each group.

    Returns:
        (group, modality) of each of the G rows, and the (G, G) numbers of shared entries.
    """
    keys = [(name, modality) for name in masks for modality in activations]
    tops = [set(top_entries(activations[modality][masks[name]], k).tolist()) for name, modality in keys]
    return keys, np.array([[len(a & b) for b in tops] for a in tops])


def usage(activations: Mapping[str, Activations], label: Array, task: Task, title: str) -> Figure:
    """Draw one row a space: left, distinct entries ever active by class and modality; right, active entries a sample by modality.

    Args:
        activations: by space and modality, (N, K).
        label: (N,).
        task: the kind of label.
        title: title of the figure.
    """
    classes = activation_classes(label, task)
    with drawing():
        figure = new_figure(7.4, 2.3 * len(activations) + 0.8, title)
        grid = figure.subplots(len(activations), 2, squeeze=False, width_ratios=[3, 2])
        for (left, right), (space, by_modality) in zip(grid, activations.items(), strict=True):
            colour = colours(list(by_modality))
            width = 0.8 / len(by_modality)
            for m, (modality, a) in enumerate(by_modality.items()):
                counts = [int((a[mask] > 0).any(axis=0).sum()) for mask in classes.values()]
                at = np.arange(len(classes)) + (m - (len(by_modality) - 1) / 2) * width
                left.bar(at, counts, width * 0.92, color=colour[modality], label=modality)
                share, edges = np.histogram((a > 0).sum(axis=1), bins=np.arange(-0.5, _most_active(by_modality) + 1.5))
                right.stairs(share / len(a), edges, color=colour[modality], linewidth=1.5)
            ever = len(np.flatnonzero(np.any([(a > 0).any(axis=0) for a in by_modality.values()], axis=0)))
            left.set_title(f"{space}: {ever} of {next(iter(by_modality.values())).shape[1]} entries ever active", loc="left")
            left.set_xticks(range(len(classes)), [f"{name}\nn={int(mask.sum())}" for name, mask in classes.items()])
            left.set_ylabel("distinct entries")
            right.set_title("active entries in a sample", loc="left")
            right.set_ylabel("share of samples")
            right.xaxis.set_major_locator(MaxNLocator(integer=True))
            left.yaxis.set_major_locator(MaxNLocator(integer=True))
            for axes in (left, right):
                axes.grid(axis="y")
                axes.set_axisbelow(True)
        grid[-1, 0].set_xlabel("labelled class")
        grid[-1, 1].set_xlabel("number of active entries")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def heat_map(activations: Activations, label: Array, task: Task, title: str, k: int = 50) -> Figure:
    """Draw the mean activation of the ``k`` most active entries of one space: a panel a modality, rows classes, columns entries.

    The columns are the same in every panel, sorted by the class an entry is most active in, so that a common structure stands out.

    Args:
        activations: by modality (N, K).
        label: (N,).
        task: the kind of label.
        title: title of the figure.
        k: number of columns.
    """
    classes = activation_classes(label, task)
    means = class_means(activations, label, task)
    together = np.mean(list(means.values()), axis=0)
    columns = top_entries(together, k)
    columns = columns[np.lexsort((-together.max(axis=0)[columns], together[:, columns].argmax(axis=0)))]
    with drawing():
        figure = new_figure(max(3.5, 0.16 * len(columns)) + 1.4, (0.19 * len(classes) + 0.42) * len(means) + 1.0, title)
        panels = figure.subplots(len(means), 1, squeeze=False, sharex=True)[:, 0]
        highest = max(float(mean[:, columns].max(initial=0)) for mean in means.values()) or 1.0
        for axes, (modality, mean) in zip(panels, means.items(), strict=True):
            image = axes.imshow(mean[:, columns], aspect="auto", cmap="BuPu", vmin=0, vmax=highest, interpolation="nearest")
            axes.set_title(modality, loc="left")
            axes.set_yticks(range(len(classes)), list(classes))
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
        panels[-1].set_xticks(range(len(columns)), [str(c) for c in columns], rotation=90, fontsize=6)
        panels[-1].set_xlabel("dictionary entry")
        figure.supylabel("labelled class", fontsize=8)
        figure.colorbar(image, ax=list(panels), label="mean activation", aspect=30)
    return figure


def overlap(activations: Mapping[str, Activations], label: Array, task: Task, title: str, k: int = 15) -> Figure:
    """Draw the number of top ``k`` entries that modalities share, within and between polarities (or classes): a panel a space.

    Args:
        activations: by space and modality, (N, K).
        label: (N,).
        task: the kind of label.
        title: title of the figure.
        k: number of entries of each group.
    """
    masks = polarities(label, task)
    size = 0.36 * len(masks) * len(next(iter(activations.values())))
    with drawing():
        figure = new_figure((size + 1.3) * len(activations) + 0.7, size + 1.5, title)
        panels = figure.subplots(1, len(activations), squeeze=False)[0]
        for axes, (space, by_modality) in zip(panels, activations.items(), strict=True):
            keys, shared = shared_top_entries(by_modality, masks, k)
            image = axes.imshow(shared, cmap="Greens", vmin=0, vmax=k)
            for i, j in np.ndindex(*shared.shape):
                axes.text(
                    j, i, str(shared[i, j]), ha="center", va="center", fontsize=7, color="white" if shared[i, j] > 0.6 * k else "#222222"
                )
            names = _group_names(keys)
            axes.set_xticks(range(len(keys)), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(keys)), names)
            for border in range(len(by_modality), len(keys), len(by_modality)):
                axes.axhline(border - 0.5, color="white", linewidth=2)
                axes.axvline(border - 0.5, color="white", linewidth=2)
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
            axes.set_title(space, loc="left")
        figure.colorbar(image, ax=list(panels), label=f"shared of the top {k} entries", shrink=0.8)
    return figure


def _group_names(keys: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{modality}, {name}" for name, modality in keys]


def _most_active(by_modality: Activations) -> int:
    return max(int((a > 0).sum(axis=1).max()) for a in by_modality.values())
