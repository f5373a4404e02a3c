"""The two spaces seen in two dimensions by t-SNE (van der Maaten and Hinton 2008)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dhmd.analysis.style import PALETTE, SENTIMENT, colours, drawing, new_figure
from dhmd.analysis.table import ALL
from dhmd.batch import Task

MAX_POINTS = 500
MIN_POINTS = 10


def comparable(embeddings: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the embeddings (N, H) by modality; if their widths differ, return them concatenated as one (N, sum of H), named ``all``."""
    if len({x.shape[1] for x in embeddings.values()}) > 1:
        return {ALL: np.concatenate(list(embeddings.values()), axis=1)}
    return dict(embeddings)


def project(embeddings: Mapping[str, NDArray[Any]], seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Return one t-SNE of all modalities of a space together.

    Args:
        embeddings: embeddings (N, H) by modality, made `comparable`; at most 500 points are used, the same samples of every modality.
        seed: seed of the choice of samples; the initial points are the first two principal components.

    Returns:
        Points (P, 2), all equal if the embeddings do not differ; the sample (P,) of each point; and its modality.
    """
    embeddings = comparable(embeddings)
    from sklearn.manifold import TSNE  # slow to import, and only needed after training

    n = len(next(iter(embeddings.values())))
    kept = min(n, MAX_POINTS // len(embeddings))
    rows = np.sort(np.random.default_rng(seed).choice(n, kept, replace=False))
    stacked = np.concatenate([np.asarray(x, np.float64)[rows] for x in embeddings.values()])
    if stacked.shape[1] == 1:  # the initial points have two components
        stacked = np.pad(stacked, ((0, 0), (0, 1)))
    if not np.ptp(stacked, axis=0).any():  # the initial points would be 0/0, which makes t-SNE crash
        return np.zeros((len(stacked), 2)), np.tile(rows, len(embeddings)), [name for name in embeddings for _ in rows]
    perplexity = min(30.0, (len(stacked) - 1) / 3)
    points = TSNE(init="pca", random_state=seed, perplexity=perplexity).fit_transform(stacked)
    return points, np.tile(rows, len(embeddings)), [name for name in embeddings for _ in rows]


def embedding_maps(embeddings: Mapping[str, Mapping[str, NDArray[Any]]], label: NDArray[Any], task: Task, title: str) -> Figure:
    """Draw one row a space: its t-SNE coloured by label, and the same points by modality.

    Args:
        embeddings: by space and modality, (N, H).
        label: (N,).
        task: the kind of label.
        title: title of the figure.
    """
    with drawing():
        figure = new_figure(7.4, 3.0 * len(embeddings) + 0.5, title)
        grid = figure.subplots(len(embeddings), 2, squeeze=False)
        for (left, right), (space, by_modality) in zip(grid, embeddings.items(), strict=True):
            points, rows, names = project(by_modality)
            draw_by_label(figure, left, points, label[rows], task)
            draw_by_modality(right, points, np.array(names))
            left.set_title(f"{space}, by label ({len(set(rows.tolist()))} of {len(label)} samples)", loc="left")
            right.set_title(f"{space}, by modality", loc="left")
            for axes in (left, right):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_aspect("equal", adjustable="datalim")
    return figure


def draw_by_label(figure: Figure, axes: Axes, points: NDArray[Any], label: NDArray[Any], task: Task, key: bool = True) -> None:
    """Draw points (P, 2) in the colours of their labels (P,), with a scale or a legend if ``key`` is set."""
    if task == "regression":
        limit = max(1.0, float(np.abs(label).max()))
        drawn = axes.scatter(points[:, 0], points[:, 1], c=label, cmap=SENTIMENT, vmin=-limit, vmax=limit, s=9, linewidths=0)
        if key:
            figure.colorbar(drawn, ax=axes, label="label", shrink=0.8)
        return
    for c in np.unique(label.astype(np.int64)):
        x, y = points[label == c].T
        axes.scatter(x, y, color=PALETTE[c % len(PALETTE)], s=9, linewidths=0, label=f"class {c}")
    if key:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=2, handletextpad=0.2)


def draw_by_modality(axes: Axes, points: NDArray[Any], names: NDArray[Any], key: bool = True) -> None:
    """Draw points (P, 2) in the colours of their modalities (P,), with a legend if ``key`` is set."""
    order = list(dict.fromkeys(names.tolist()))
    for (name, colour), marker in zip(colours(order).items(), "os^Dv<>" * len(order), strict=False):
        x, y = points[names == name].T
        axes.scatter(x, y, color=colour, marker=marker, s=9, linewidths=0, label=name)
    if key:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=2, handletextpad=0.2)
