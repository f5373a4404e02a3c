"""Content of an analysis: its tables, figures and arrays, and the names of absent parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dhmd.analyse.inputs import Analysed
from dhmd.analysis import dictionary_tables as dictionary
from dhmd.analysis import edge_tables as edge
from dhmd.analysis.activations import heat_map, overlap, polarities, usage
from dhmd.analysis.drift import dictionary_drift, drift_lines, drift_map, epoch_means
from dhmd.analysis.edge_classes import edge_distributions, edges_by_class, edges_by_epoch
from dhmd.analysis.edges import edge_graphs, edge_history
from dhmd.analysis.embeddings import MIN_POINTS
from dhmd.analysis.projections import Projection, embedding_rows, projection, projection_maps
from dhmd.analysis.representation import probe_bars, probes, videos
from dhmd.analysis.table import Row
from dhmd.runs.arrays import Array

SPACES = ("homogeneous", "heterogeneous")


@dataclass(frozen=True)
class Content:
    """All results computed for a run.

    Attributes:
        analysed: the arrays it was computed from.
        tables: non-empty tables, as rows by name.
        projections: projection of each space.
        drift: mean activations (epochs, K) by space and modality.
        absent: name of each part that could not be computed, and the reason.
    """

    analysed: Analysed
    tables: Mapping[str, list[Row]]
    projections: Mapping[str, Projection]
    drift: Mapping[str, Mapping[str, Array]]
    absent: Mapping[str, str] = field(default_factory=dict)


def compute(found: Analysed) -> Content:
    """Compute every table and projection; t-SNE and the probes take most of the time.

    Args:
        found: arrays of a run.
    """
    record, task, epochs = found.record, found.task, found.epochs
    absent = _absent(found)
    read, left_out = probes(record.embeddings, record.label, task, record.ids)
    drift = epoch_means(record.training) if record.training is not None and found.kept is not None else {}
    shown = {space: x for space, x in record.embeddings.items() if sum(map(len, x.values())) >= MIN_POINTS}
    projections = {space: projection(x) for space, x in shown.items()}
    tables = {
        "edges_samples": edge.edge_samples(record.edges, record.ids, record.label, record.prediction, task),
        "edges_classes": edge.edge_classes(record.edges, record.label, task),
        "edges_epochs": [] if epochs is None else edge.edge_epochs(record.edges, epochs, record.training),
        "dictionary_usage": dictionary.dictionary_usage(record.activations, record.label, task),
        "dictionary_overlap": dictionary.dictionary_overlap(record.activations, record.label, task),
        "dictionary_top": dictionary.dictionary_top(record.activations, record.label, task),
        "dictionary_drift": [] if epochs is None or found.kept is None else dictionary_drift(drift, epochs, found.kept),
        "probes": read,
        "embeddings": embedding_rows(projections, record.ids, record.label),
    }
    return Content(found, {name: rows for name, rows in tables.items() if rows}, projections, drift, absent | left_out)


def figures(content: Content) -> Iterator[tuple[str, Figure]]:
    """Yield every figure by file name, one drawn at a time; absent stages have none."""
    found = content.analysed
    record, task, split, of = found.record, found.task, found.split, found.title
    learned = {space: edges for space, edges in record.edges.items() if edges.weights is not None}
    if record.edges:
        yield "edge_graphs", edge_graphs(record.edges, f"Graph distillation\n{of}", split)
    if learned:
        yield "edges_samples", edge_distributions(learned, f"Edge weights over samples\n{of}")
    for space, edges in learned.items():
        yield f"edges_classes_{space}", edges_by_class(edges, record.label, task, f"Edge weights by class, {space} space\n{of}")
    if found.epochs is not None:
        trained = {space: edges for space, edges in record.edges.items() if edges.validation is not None and len(edges.validation)}
        if trained:
            yield "edges_epochs", edge_history(trained, found.epochs, f"Edge weights by epoch, validation\n{_run(of)}", found.kept)
        for space, edges in trained.items():
            if record.training is not None and edges.validation_by_class is not None:
                title = f"Edge weights by epoch and class, {space} space, validation\n{_run(of)}"
                yield f"edges_epochs_{space}", edges_by_epoch(edges, record.training, found.epochs, task, title, found.kept)
    if record.activations:
        yield "dictionary_usage", usage(record.activations, record.label, task, f"Dictionary usage\n{of}")
    if record.activations and polarities(record.label, task):  # empty if every label is 0
        yield "dictionary_overlap", overlap(record.activations, record.label, task, f"Dictionary entries in common\n{of}")
    for space, activations in record.activations.items():
        yield f"dictionary_top_{space}", heat_map(activations, record.label, task, f"Dictionary activations, {space} space\n{of}")
    if found.epochs is not None and found.kept is not None and content.drift:
        title = f"Drift of dictionary use over training, validation\n{_run(of)}"
        yield "dictionary_drift", drift_lines(content.tables["dictionary_drift"], title, found.kept)
        for space, means in content.drift.items():
            title = f"Dictionary activations over training, {space} space, validation\n{_run(of)}"
            yield f"dictionary_drift_{space}", drift_map(means, found.epochs, found.kept, title)
    if "probes" in content.tables:
        yield "probes", probe_bars(content.tables["probes"], f"What a linear reader finds in the embeddings\n{of}")
    for space, p in content.projections.items():
        yield f"embeddings_{space}", projection_maps(p, record.label, task, f"Embeddings, {space} space\n{of}")


def arrays(content: Content) -> dict[str, Any]:
    """Return every array by its name in arrays.h5; texts are lists of str."""
    record, found = content.analysed.record, content.analysed
    named: dict[str, Any] = {
        "samples/id": list(record.ids),
        "samples/video": videos(record.ids).tolist(),
        "samples/label": record.label,
        "samples/prediction": record.prediction,
    }
    if found.epochs is not None:
        named["training/epoch"] = found.epochs
    if record.training is not None:
        named |= {"training/classes": record.training.classes, "training/class_share": record.training.share}
    for space, edges in record.edges.items():
        named[f"edges/{space}/pairs"] = edges.names
        own = {"prior": edges.prior, "samples": edges.weights, "epochs": edges.validation, "epochs_by_class": edges.validation_by_class}
        named |= {f"edges/{space}/{name}": values for name, values in own.items() if values is not None}
    spaces = {"activations": record.activations, "embeddings": record.embeddings, "activations_by_epoch": content.drift}
    for kind, by_space in spaces.items():
        for space, by_modality in by_space.items():
            named |= {f"{kind}/{space}/{modality}": np.asarray(x, np.float32) for modality, x in by_modality.items()}
    for space, p in content.projections.items():
        places = {"sample": p.rows, "modality": list(p.modality), "pca": p.pca, "explained_variance": p.explained, "tsne": p.tsne}
        named |= {f"projections/{space}/{name}": values for name, values in places.items()}
    return named


def _run(title: str) -> str:
    """Return a title without its split, for validation figures of an analysis of any split."""
    return title.rsplit(", ", 1)[0]


def _absent(found: Analysed) -> dict[str, str]:
    record = found.record
    absent = {}
    for space in SPACES:
        edges, training = record.edges.get(space), record.training
        if edges is None and space not in record.activations and space not in record.embeddings:
            if not set(record.embeddings) - set(SPACES):  # a network with other spaces is none of decoupled distillation
                absent[f"the {space} space"] = "the network has none"
            continue
        if edges is None:
            absent[f"edges, {space}"] = "the network has no graph distillation unit there"
        elif edges.weights is None:
            absent[f"edges by sample, class and epoch, {space}"] = "they are fixed or uniform: none were learned"
        else:
            if edges.prior is None:
                absent[f"prior of the edges, {space}"] = "the unit has none"
            if edges.validation is None:
                absent[f"edges by epoch, {space}"] = found.missing
            elif edges.validation_by_class is None or training is None:
                absent[f"edges by epoch and class, {space}"] = found.missing
        if space not in record.activations:
            absent[f"dictionary, {space}"] = "the network has none there"
        elif training is None or space not in training.activations:
            absent[f"drift of the dictionary, {space}"] = found.missing
        elif found.kept is None:
            absent[f"drift of the dictionary, {space}"] = "the epoch kept is not in history.csv"
        points = sum(map(len, record.embeddings.get(space, {}).values()))
        if points < MIN_POINTS:
            absent[f"projections, {space}"] = f"found {points} embeddings, expected {MIN_POINTS} at least"
    return absent
