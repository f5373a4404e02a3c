"""Panels of embeddings by t-SNE, and the confusion of labels and predictions."""

from __future__ import annotations

from dhmd.analysis.activations import class_numbers
from dhmd.analysis.confusion import confusion_counts
from dhmd.analysis.embeddings import MIN_POINTS, project
from dhmd.batch import Task
from dhmd.report.heat import Cells, heat_map
from dhmd.report.pictures import Key, Panel, Picture, class_kind, class_title, kinds_of
from dhmd.report.scatter import scatter
from dhmd.runs.arrays import Record


def embedding_panels(record: Record, task: Task) -> list[Panel]:
    """Draw one t-SNE for each space, by label and by modality."""
    panels = []
    for space, embeddings in record.embeddings.items():
        if sum(map(len, embeddings.values())) < MIN_POINTS:
            continue
        points, rows, names = project(embeddings)
        numbers = class_numbers(record.label, task)[rows].tolist()
        kinds = kinds_of(list(dict.fromkeys(names)))
        by_label = scatter(f"{space} space by label", points, [class_kind(c, task) for c in numbers])
        by_modality = scatter(f"{space} space by modality", points, [kinds[name] for name in names])
        classes = tuple(Key(class_title(c, task), class_kind(c, task)) for c in sorted(set(numbers)))
        keys = (*classes, *(Key(*item) for item in kinds.items()))
        seen = f"{len(set(rows.tolist()))} of {len(record.label)} test samples, every modality of each"
        pictures = (Picture("by label", by_label), Picture("by modality", by_modality))
        panels.append(Panel(f"t-SNE, {space} space", pictures, f"{seen}. Distances between clusters mean nothing.", keys, "medium"))
    return panels


def confusion_panel(record: Record, task: Task) -> Panel:
    """Draw the confusion counts, coloured by the share of the labelled class. Sentiment falls into the seven classes of ACC7."""
    counts, shares, names = confusion_counts(record.prediction, record.label, task)
    chart = heat_map("confusion, test split", shares, names, names, highest=1.0, cells=Cells(), written=counts)
    note = "Rows are labelled classes, columns predicted ones; the colour is the share of the row."
    return Panel("Confusion, test split", (Picture("", chart),), note, (), "single")
