"""The embeddings of a space in two dimensions, by principal components and by t-SNE, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from dhmd.analysis.activations import Array
from dhmd.analysis.embeddings import comparable, draw_by_label, draw_by_modality, project
from dhmd.analysis.style import drawing, new_figure
from dhmd.analysis.table import Row
from dhmd.batch import Task

COMPONENTS = 10


@dataclass(frozen=True)
class Projection:
    """All modalities of one space seen together; P = N M points, samples within modalities.

    Attributes:
        rows: (P,) the sample of each point.
        modality: modality of each point.
        pca: (P, 2) principal components.
        explained: (at most 10,) share of the variance that each of the first components explains.
        tsne: (P, 2), NaN for points that were not drawn.
    """

    rows: Array
    modality: tuple[str, ...]
    pca: Array
    explained: Array
    tsne: Array

    @property
    def drawn(self) -> Array:
        """(P,) mask of the points that are drawn for t-SNE."""
        return np.isfinite(self.tsne[:, 0])


def projection(embeddings: Mapping[str, Array], seed: int = 0) -> Projection:
    """Return principal components of all points, and t-SNE of at most 500 of them (see `dhmd.analysis.embeddings.project`).

    Args:
        embeddings: embeddings (N, H) by modality, made `comparable`; at least two points in all.
        seed: seed of the points drawn and of t-SNE.
    """
    embeddings = comparable(embeddings)
    stacked = np.concatenate([np.asarray(x, np.float64) for x in embeddings.values()])
    n = len(next(iter(embeddings.values())))
    with np.errstate(invalid="ignore"):  # 0/0 if all points are equal
        fit = PCA(min(COMPONENTS, *stacked.shape), svd_solver="full").fit(stacked)
    places = np.zeros((len(stacked), 2))
    components = fit.transform(stacked)[:, :2]
    places[:, : components.shape[1]] = components
    points, rows, names = project(embeddings, seed)
    tsne = np.full((len(stacked), 2), np.nan)
    first = {name: i * n for i, name in enumerate(embeddings)}
    tsne[[first[name] + row for name, row in zip(names, rows.tolist(), strict=True)]] = points
    modality = tuple(name for name in embeddings for _ in range(n))
    return Projection(np.tile(np.arange(n), len(embeddings)), modality, places, np.nan_to_num(fit.explained_variance_ratio_), tsne)


def embedding_rows(projections: Mapping[str, Projection], ids: Sequence[str], label: Array) -> list[Row]:
    """Return a row for each point with its sample and its coordinates; t-SNE is empty for points not drawn.

    Args:
        projections: projection of each space.
        ids: ids of the N samples.
        label: (N,).
    """
    return [
        {
            "space": space,
            "modality": modality,
            "id": ids[row],
            "label": label[row],
            "pca_1": float(pca[0]),
            "pca_2": float(pca[1]),
            "tsne_1": float(tsne[0]) if drawn else None,
            "tsne_2": float(tsne[1]) if drawn else None,
        }
        for space, p in projections.items()
        for row, modality, pca, tsne, drawn in zip(p.rows.tolist(), p.modality, p.pca, p.tsne, p.drawn, strict=True)
    ]


def projection_maps(p: Projection, label: Array, task: Task, title: str) -> Figure:
    """Draw principal components left and t-SNE right, of the same points; above coloured by label, below by modality.

    Args:
        p: projection of one space.
        label: (N,).
        task: the kind of label.
        title: title of the figure.
    """
    drawn = p.drawn
    rows, names = p.rows[drawn], np.array(p.modality)[drawn]
    with drawing():
        figure = new_figure(7.4, 6.0, title)
        grid = figure.subplots(2, 2)
        for column, (name, points) in enumerate({"principal components": p.pca[drawn], "t-SNE": p.tsne[drawn]}.items()):
            above, below = grid[:, column]
            draw_by_label(figure, above, points, label[rows], task, key=column == 1)
            draw_by_modality(below, points, names, key=column == 1)
            above.set_title(f"{name}, by label", loc="left")
            below.set_title(f"{name}, by modality", loc="left")
            for axes in (above, below):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.set_aspect("equal", adjustable="datalim")
                if column == 0:
                    share = [*(100 * p.explained), 0.0, 0.0]
                    axes.set_xlabel(f"component 1 ({share[0]:.0f} % of the variance)")
                    axes.set_ylabel(f"component 2 ({share[1]:.0f} %)")
        figure.supxlabel(f"{len(set(rows.tolist()))} of {len(label)} samples, every modality of each", fontsize=8)
    return figure
