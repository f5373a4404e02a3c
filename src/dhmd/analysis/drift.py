"""Drift of a dictionary's use during training, relative to the epoch whose weights were kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dhmd.analysis.activations import Array, top_entries
from dhmd.analysis.dictionary_tables import TOP, cosine, jaccard, perplexity
from dhmd.analysis.style import colours, drawing, epochs_axis, new_figure
from dhmd.analysis.table import Row
from dhmd.runs.arrays import ByEpoch

Means = Mapping[str, Mapping[str, Array]]
"""Mean activations (epochs, K) by space and modality."""


def epoch_means(training: ByEpoch) -> dict[str, dict[str, Array]]:
    """Return the mean activation of each entry over all validation samples, by epoch: (epochs, K) by space and modality."""
    weigh = np.asarray(training.share, np.float64)
    return {
        space: {modality: np.einsum("c,eck->ek", weigh, x.astype(np.float64)) for modality, x in by_modality.items()}
        for space, by_modality in training.activations.items()
    }


def dictionary_drift(means: Means, epochs: Array, kept: int, k: int = TOP) -> list[Row]:
    """Return the similarity of the mean activation to that of the kept epoch and of the previous epoch: a row a space, modality and epoch.

    Args:
        means: mean activations (epochs, K) by space and modality.
        epochs: (epochs,) numbers of the epochs.
        kept: the epoch whose weights were kept, one of them.
        k: number of entries whose overlap is computed.
    """
    at = int(np.flatnonzero(epochs == kept)[0])
    rows = []
    for space, by_modality in means.items():
        for modality, mean in by_modality.items():
            tops = [set(top_entries(row[None], k).tolist()) for row in mean]
            for i, epoch in enumerate(epochs[: len(mean)].tolist()):
                rows.append(
                    {
                        "epoch": int(epoch),
                        "space": space,
                        "modality": modality,
                        "cosine_to_kept": cosine(mean[i], mean[at]),
                        "jaccard_top_to_kept": jaccard(tops[i], tops[at]),
                        "cosine_to_previous": cosine(mean[i], mean[i - 1]) if i else None,
                        "entries_in_use": int((mean[i] > 0).sum()),
                        "perplexity": perplexity(mean[i]),
                        "k": k,
                    }
                )
    return rows


_PANELS = {
    "cosine_to_kept": "cosine to the epoch kept",
    "jaccard_top_to_kept": "top-{k} overlap with the epoch kept",
    "entries_in_use": "entries in use",
}


def drift_lines(rows: list[Row], title: str, kept: int) -> Figure:
    """Draw one row a space, one panel a quantity of `dictionary_drift`, one line a modality.

    Args:
        rows: result of `dictionary_drift`.
        title: title of the figure.
        kept: the epoch whose weights were kept.
    """
    spaces, modalities = (list(dict.fromkeys(row[key] for row in rows)) for key in ("space", "modality"))
    colour = colours(modalities)
    with drawing():
        figure = new_figure(8.2, 2.0 * len(spaces) + 0.9, title)
        grid = figure.subplots(len(spaces), len(_PANELS), squeeze=False, sharex=True)
        for panels, space in zip(grid, spaces, strict=True):
            for axes, (key, name) in zip(panels, _PANELS.items(), strict=True):
                for modality in modalities:
                    own = [row for row in rows if (row["space"], row["modality"]) == (space, modality)]
                    x = [row["epoch"] for row in own]
                    axes.plot(x, [row[key] for row in own], color=colour[modality], label=modality, marker="." if len(x) < 3 else None)
                epochs_axis(axes, kept)
                axes.set_title(name.format(k=rows[0]["k"]), loc="left")
                if key == "entries_in_use":
                    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
                    axes.set_ylim(bottom=0)
                else:
                    axes.set_ylim(0, 1.04)
            panels[0].set_ylabel(space)
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def drift_map(by_modality: Mapping[str, Array], epochs: Array, kept: int, title: str, k: int = TOP) -> Figure:
    """Draw the ``k`` entries most used at the kept epoch, over training: a panel a modality, rows epochs, columns entries.

    Args:
        by_modality: (epochs, K) mean activations of one space.
        epochs: (epochs,) numbers of the epochs.
        kept: the epoch whose weights were kept, one of them.
        title: title of the figure.
        k: number of columns.
    """
    at = int(np.flatnonzero(epochs == kept)[0])
    columns = top_entries(np.stack([mean[at] for mean in by_modality.values()]), k)
    n = min(len(epochs), *(len(mean) for mean in by_modality.values()))
    highest = max(float(mean[:, columns].max(initial=0)) for mean in by_modality.values()) or 1.0
    with drawing():
        figure = new_figure(max(3.5, 0.16 * len(columns)) + 1.4, (0.9 + min(0.08 * n, 1.2)) * len(by_modality) + 1.0, title)
        panels = figure.subplots(len(by_modality), 1, squeeze=False, sharex=True)[:, 0]
        image: Any = None
        for axes, (modality, mean) in zip(panels, by_modality.items(), strict=True):
            extent = (-0.5, len(columns) - 0.5, epochs[n - 1] + 0.5, epochs[0] - 0.5)
            image = axes.imshow(mean[:n, columns], aspect="auto", cmap="BuPu", vmin=0, vmax=highest, interpolation="nearest", extent=extent)
            axes.axhline(kept, color="#777777", linewidth=0.9, linestyle=":")
            axes.set_title(modality, loc="left")
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
        panels[-1].set_xticks(range(len(columns)), [str(c) for c in columns], rotation=90, fontsize=6)
        panels[-1].set_xlabel(f"dictionary entry, most used at epoch {kept} first")
        figure.supylabel("epoch (dotted: the one kept)", fontsize=8)
        figure.colorbar(image, ax=list(panels), label="mean activation of validation", aspect=30)
    return figure
