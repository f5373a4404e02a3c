"""Loss terms and metrics of a run by epoch."""

from __future__ import annotations

from collections.abc import Mapping

from dhmd.analysis.activations import Array
from dhmd.evaluation.metrics import LABELS, NOT_A_SHARE
from dhmd.report.lines import Line, line_chart
from dhmd.report.pictures import Key, Panel, Picture

_SPLITS = {"train": Key("train", "m0"), "validation": Key("validation", "m1")}
_KEPT = Key("epoch kept", "kept-key")


def loss_panel(history: Mapping[str, Array], kept: int | None) -> Panel:
    """Draw one picture for each loss term, each on its own scale."""
    named = [name.split("/", 1)[1] for name in history if name.startswith(("train/", "validation/"))]
    terms = sorted((term for term in dict.fromkeys(named) if term not in LABELS), key=lambda term: term != "total")
    pictures = []
    for term in terms:
        lines = [Line(key.name, history[f"{split}/{term}"], key.kind) for split, key in _SPLITS.items() if f"{split}/{term}" in history]
        title = term.replace("_", " ")
        pictures.append(Picture(title, line_chart(f"loss term {title} by epoch", history["epoch"], lines, kept=kept)))
    note = "The total is weighted, the terms are not. Each picture has a scale of its own."
    return Panel("Loss terms by epoch", tuple(pictures), note, (*_SPLITS.values(), _KEPT))


def metric_panel(history: Mapping[str, Array], kept: int | None) -> Panel:
    """Draw validation metrics and the learning rate."""
    pictures = []
    for key in (key for key in LABELS if f"validation/{key}" in history):
        share = key not in NOT_A_SHARE
        title = LABELS[key] + (", %" if share else "")
        values = history[f"validation/{key}"] * (100 if share else 1)
        pictures.append(Picture(title, line_chart(f"{title} by epoch", history["epoch"], [Line(title, values, "m1")], kept=kept)))
    if "lr" in history:
        chart = line_chart("learning rate by epoch", history["epoch"], [Line("rate", history["lr"], "m2")], kept=kept, from_zero=True)
        pictures.append(Picture("learning rate", chart))
    return Panel("Validation metrics by epoch", tuple(pictures), "", (_SPLITS["validation"], _KEPT))
