"""Linear probes of the embeddings of any run: the label in each modality's, and the modality in a space's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dhmd.analysis.activations import Array
from dhmd.analysis.readout import classify, read_out
from dhmd.analysis.style import colours, drawing, new_figure
from dhmd.analysis.table import ALL, Row
from dhmd.batch import Task

FOLDS = 5
MIN_SAMPLES = 20
MAX_POINTS = 1500
"""Maximum number of rows for a probe; larger splits are subsampled. The time of a probe grows with them."""

R2, ACCURACY = "R2", "balanced accuracy"


def videos(ids: Sequence[str]) -> Array:
    """Return the video (N,) of each sample: its id up to the last ``$_$``, or the whole id without one."""
    return np.array([i.rsplit("$_$", 1)[0] for i in ids])


def protocol(ids: Sequence[str]) -> str:
    """Return a sentence on the protocol of the probes for samples with these ids, which claims no more than the ids show."""
    unnamed = sum("$_$" not in i for i in ids)
    if not unnamed:
        kept = "videos kept together"
    elif unnamed == len(ids):
        kept = "each sample a group of its own: ids name no video"
    else:
        kept = f"videos kept together; {unnamed} of {len(ids)} ids name none, each a group of its own"
    return f"out of fold within the split, {kept}"


def probes(
    embeddings: Mapping[str, Mapping[str, Array]], label: Array, task: Task, ids: Sequence[str], seed: int = 0
) -> tuple[list[Row], dict[str, str]]:
    """Probe each modality of a space, and all together, for the label (R^2, or balanced accuracy), and each space for the modality.

    Every number is out of fold within the given split, on which the network was not trained but the probe was, fold by fold. If the ids
    name videos, clips of a video are never on both sides (see `protocol`). ``shuffled`` is the same probe of a target whose values
    were permuted at random among the samples.

    Args:
        embeddings: finite embeddings (N, H) by space and modality.
        label: (N,).
        task: the kind of label.
        ids: (N,) ids of the samples.
        seed: seed of the samples drawn and of the shuffling.

    Returns:
        A row for each probe, and the reason for each omitted probe, by name.
    """
    rows: list[Row] = []
    absent: dict[str, str] = {}
    random = np.random.default_rng(seed)
    label, groups = np.asarray(label), videos(ids)
    kept = np.sort(random.permutation(len(label))[:MAX_POINTS])
    few = np.sort(random.permutation(len(label))[: MAX_POINTS // max((len(x) for x in embeddings.values()), default=1)])
    for space, by_modality in embeddings.items():
        read = {**by_modality, **({ALL: np.concatenate(list(by_modality.values()), axis=1)} if len(by_modality) > 1 else {})}
        cases = [(modality, "label", x[kept], label[kept], groups[kept]) for modality, x in read.items()]
        if len({x.shape[1] for x in by_modality.values()}) > 1:
            absent[f"probe of the modality from {space}, {ALL}"] = "the modalities' embeddings have different widths"
        elif len(by_modality) > 1:
            which = np.repeat(np.arange(len(by_modality)), len(few))
            stacked = np.concatenate([x[few] for x in by_modality.values()])
            cases.append((ALL, "modality", stacked, which, np.tile(groups[few], len(by_modality))))
        for modality, target, x, y, of in cases:
            reader = _regression if task == "regression" and target == "label" else _classification
            name = f"probe of the {target} from {space}, {modality}"
            if reason := _too_little(y, of):
                absent[name] = reason
                continue
            value, chance, score = reader(x, y, of)
            rows.append(
                {
                    "space": space,
                    "modality": modality,
                    "target": target,
                    "score": score,
                    "value": value,
                    "chance": chance,
                    "shuffled": reader(x, random.permutation(y), of)[0],
                    "n": len(y),
                    "features": x.shape[1],
                    "groups": len(np.unique(of)),
                    "folds": FOLDS,
                    "protocol": protocol(ids),
                }
            )
    return rows, absent


Reader = Callable[[Array, Array, Array], tuple[float, float, str]]


def _regression(x: Array, y: Array, groups: Array) -> tuple[float, float, str]:
    return read_out(x, y, groups, FOLDS), 0.0, R2


def _classification(x: Array, y: Array, groups: Array) -> tuple[float, float, str]:
    found = classify(x, y, groups, FOLDS)
    return found.accuracy, found.chance, ACCURACY


def _too_little(y: Array, groups: Array) -> str | None:
    different = len(np.unique(groups))
    if len(y) < MIN_SAMPLES:
        return f"found {len(y)} samples, expected {MIN_SAMPLES} at least"
    if different < FOLDS:
        return f"found {different} videos, expected {FOLDS} at least, one a fold"
    if len(np.unique(y)) < 2:
        return "all samples have the same one"
    return None


def probe_bars(rows: Sequence[Row], title: str) -> Figure:
    """Draw the label from each modality (left) and the modality from each space (right); crosses are shuffled targets, dashed lines chance.

    Args:
        rows: rows from `probes`.
        title: title of the figure.
    """
    targets = [t for t in ("label", "modality") if any(row["target"] == t for row in rows)]
    spaces = list(dict.fromkeys(row["space"] for row in rows))
    with drawing():
        figure = new_figure(3.3 * len(targets) + 1.4, 3.0, title)
        panels = figure.subplots(1, len(targets), squeeze=False, width_ratios=[3 if t == "label" else 1.2 for t in targets])[0]
        for axes, target in zip(panels, targets, strict=True):
            shown = [row for row in rows if row["target"] == target]
            names = list(dict.fromkeys(row["modality"] for row in shown))
            colour = {**colours([n for n in names if n != ALL]), ALL: "#777777"}
            width = 0.8 / len(names)
            for row in shown:
                place = spaces.index(row["space"]) + (names.index(row["modality"]) - (len(names) - 1) / 2) * width
                axes.bar(place, row["value"], 0.92 * width, color=colour[row["modality"]], label=row["modality"])
                axes.plot(place, row["shuffled"], "x", color="#222222", markersize=4, label="shuffled target")
            axes.axhline(shown[0]["chance"], color="#333333", linewidth=1.0, linestyle="--", label="chance")
            axes.set_xticks(range(len(spaces)), spaces)
            axes.set_ylabel("R²" if shown[0]["score"] == R2 else shown[0]["score"])
            axes.set_title(f"the {target}", loc="left")
            axes.grid(axis="y")
            axes.set_axisbelow(True)
            axes.set_xlim(-0.6, len(spaces) - 0.4)
            if shown[0]["score"] == ACCURACY:
                axes.set_ylim(0, 1.03)
        handles = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles))
    return figure
