"""All figures of a run, drawn from its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dhmd.analysis.activations import heat_map, overlap, polarities, usage
from dhmd.analysis.confusion import confusion
from dhmd.analysis.curves import loss_curves, metric_curves
from dhmd.analysis.edges import edge_graphs, edge_history
from dhmd.analysis.embeddings import MIN_POINTS, embedding_maps
from dhmd.analysis.style import save
from dhmd.runs.folder import RunFolder
from dhmd.runs.reader import Run, model_name, read_run


def write_figures(run_dir: Path) -> list[Path]:
    """Draw the record of a run into ``run_dir``/figures, each figure as .png and .svg; an absent stage has no figure.

    Needs config.yaml, metrics.json, data.json, history.csv and record.h5; the run need not have its DONE yet.

    Returns:
        The files, in the order drawn.

    Raises:
        RunError: one of those files is missing or damaged.
    """
    run = read_run(run_dir, finished=False)
    return [path for name, figure in figures(run) for path in save(figure, RunFolder(run_dir).figures, name)]


def figures(run: Run) -> Iterator[tuple[str, Figure]]:
    """Yield every figure of a run by file name, one drawn at a time.

    Raises:
        RunError: history.csv or record.h5 is missing or damaged.
    """
    history, record, task = run.history(), run.record(), run.metrics["task"]
    chosen = run.metrics["selection"].get("epoch")
    of = run_title(run)
    yield "loss_terms", loss_curves(history, f"Loss terms (the total weighted, the others not): {of}", chosen)
    yield "metrics", metric_curves(history, f"Validation metrics: {of}", chosen)
    yield "confusion", confusion(record.prediction, record.label, task, f"Confusion, test set\n{of}")
    if record.edges:
        yield "edge_graphs", edge_graphs(record.edges, f"Graph distillation: {of}")
    learned = {space: edges for space, edges in record.edges.items() if edges.validation is not None and len(edges.validation)}
    if learned:
        epochs = history.get("epoch", np.arange(max(len(e.validation) for e in learned.values() if e.validation is not None)))
        yield "edge_history", edge_history(learned, epochs, f"Edge weights by epoch: {of}", chosen)
    if record.activations:
        yield "dictionary_usage", usage(record.activations, record.label, task, f"Dictionary usage, test set: {of}")
    if record.activations and polarities(record.label, task):  # empty if every label is 0
        yield "dictionary_overlap", overlap(record.activations, record.label, task, f"Dictionary entries in common, test set\n{of}")
    for space, activations in record.activations.items():
        title = f"Dictionary activations, {space} space, test set: {of}"
        yield f"dictionary_{space}", heat_map(activations, record.label, task, title)
    shown = {space: x for space, x in record.embeddings.items() if sum(map(len, x.values())) >= MIN_POINTS}
    if shown:
        yield "embeddings", embedding_maps(shown, record.label, task, f"t-SNE by space, test set: {of}")


def run_title(run: Run) -> str:
    """Return model and ablation, data and seed, with "synthetic" for generated data."""
    data = f"{run.metrics['data']} (synthetic data)" if run.metrics["synthetic"] else run.metrics["data"]
    return f"{model_name(run.metrics['model'], run.metrics.get('ablation'))} on {data}, seed {run.metrics['seed']}"
