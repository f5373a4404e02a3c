"""One run in detail: every panel of the page that is about a single run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dhmd.report.configuration import as_text, shown
from dhmd.report.curves import loss_panel, metric_panel
from dhmd.report.dictionaries import Usage, dictionary_panels, usage_of
from dhmd.report.edges import edge_panels
from dhmd.report.embeddings import confusion_panel, embedding_panels
from dhmd.report.pictures import Panel
from dhmd.report.samples import drawn, samples_of
from dhmd.runs.reader import Run, run_label

THEMES = ("Curves", "Edges", "Dictionaries", "Embeddings", "Confusion")
"""Sections of the page that are about one run, in order."""


@dataclass(frozen=True)
class Detail:
    """A run in detail.

    Attributes:
        key: its name in the page's ids.
        name: name of its configuration, with the seed.
        run: short name of its folder.
        title: the same with the data, labelled as synthetic if it is.
        synthetic: whether the data were generated.
        panels: panels by theme.
        usage: table of the dictionaries, None without.
        absent: name of each absent part, and the reason.
        samples: samples for the browser.
        of: number of samples of the test split.
        configuration: configuration by dotted key.
        environment: environment by dotted key.
    """

    key: str
    name: str
    run: str
    title: str
    synthetic: bool
    panels: Mapping[str, list[Panel]]
    usage: Usage | None
    absent: tuple[str, ...]
    samples: dict[str, Any]
    of: int
    configuration: Mapping[str, str]
    environment: Mapping[str, str]


def detail(key: str, name: str, data: str, run: Run, samples: int) -> Detail:
    """Return everything about one run.

    Args:
        key: its name in the page's ids.
        name: name of its configuration, as choosers show it.
        data: name of the data set.
        run: the run.
        samples: maximum number of samples in the browser.

    Raises:
        RunError: history.csv or record.h5 is missing or damaged.
    """
    history, record, task = run.history(), run.record(), run.metrics["task"]
    kept = run.metrics["selection"].get("epoch")
    found = (
        [panel for panel in (loss_panel(history, kept), metric_panel(history, kept)) if panel.pictures],
        edge_panels(record, task, history["epoch"], kept),
        dictionary_panels(record, task),
        embedding_panels(record, task),
        [confusion_panel(record, task)],
    )
    panels = {theme: one for theme, one in zip(THEMES, found, strict=True) if one}
    absent = []
    if not record.edges:
        absent.append("no graph distillation unit, so no edges")
    elif any(e.weights is not None and e.validation_by_class is None for e in record.edges.values()):
        absent.append("a record of an older version, without edges by class over training")
    if not record.activations:
        absent.append("no dictionaries")
    if not record.embeddings:
        absent.append("no spaces, so no embeddings")
    elif "Embeddings" not in panels:
        absent.append("too few samples for t-SNE")
    rows = drawn(len(record.ids), samples)
    return Detail(
        key=key,
        name=f"{name}, seed {run.metrics['seed']}",
        run=run_label(run.path),
        title=f"{name}" + ("" if f" on {data}" in name else f" on {data}") + f", seed {run.metrics['seed']}",
        synthetic=run.metrics["synthetic"],
        panels=panels,
        usage=usage_of(record, task),
        absent=tuple(absent),
        samples=samples_of(record, task, rows),
        of=len(record.ids),
        configuration=shown(run),
        environment=as_text(run.environment()),
    )
