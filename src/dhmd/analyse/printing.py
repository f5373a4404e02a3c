"""Summary of an analysis in a few lines of text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.table import Table

from dhmd.analyse.write import Analysis
from dhmd.analysis.table import ALL, Row


def waiting() -> AbstractContextManager[Any]:
    """Show a progress indicator on terminals while an analysis runs."""
    return Console(stderr=True).status("computing and drawing")


def print_analysis(analysis: Analysis, console: Console | None = None) -> None:
    """Print the main numbers, the absent parts with their reasons, and the files."""
    console = console or Console(highlight=False)
    content = analysis.content
    found, tables = content.analysed, content.tables
    console.print(f"{found.title}: {len(found.record.ids)} samples, from {found.source}", soft_wrap=True)
    parts = {"edges_classes": _edges, "dictionary_usage": _usage, "dictionary_overlap": _overlap, "probes": _probes}
    for name, part in parts.items():
        table = part(tables.get(name, []))
        if table is not None:
            console.print()
            console.print(table)
    console.print()
    for name, reason in content.absent.items():
        console.print(f"absent: {name}: {reason}", soft_wrap=True)
    kinds: dict[str, list[str]] = defaultdict(list)
    for file in analysis.files:
        if file.suffix != ".svg":
            kinds["figures (png, svg)" if file.suffix == ".png" else "tables" if file.suffix == ".csv" else "other"].append(file.stem)
    for kind, names in kinds.items():
        console.print(f"{kind}: {', '.join(names)}", soft_wrap=True)
    console.print(f"folder: {analysis.folder}", soft_wrap=True)


def _edges(rows: Sequence[Row]) -> Table | None:
    shown = {(f"{row['teacher']} → {row['student']}", row["space"]): _edge(row) for row in rows if row["class"] == ALL}
    return _by_space(
        "edge weights, mean ± standard deviation of samples\n(prior of the configuration: model.<space>.distillation.prior)",
        "teacher → student",
        shown,
    )


def _edge(row: Row) -> str:
    prior = "none" if row["prior"] is None else f"{row['prior']:.3f}"
    return f"{row['mean']:.3f} ± {row['std']:.3f} ({prior})"


def _usage(rows: Sequence[Row]) -> Table | None:
    shown = [row for row in rows if row["class"] == ALL]
    if not shown:
        return None
    table = Table(title="dictionary entries", title_justify="left")
    for name in ("space", "modality", "in all", "ever active", "in a sample", "perplexity"):
        table.add_column(name, justify="left" if name in ("space", "modality") else "right")
    for row in shown:
        numbers = (str(row["entries"]), str(row["ever_active"]), f"{row['active_per_sample']:.1f}", f"{row['perplexity']:.1f}")
        table.add_row(row["space"], row["modality"], *numbers)
    return table


def _overlap(rows: Sequence[Row]) -> Table | None:
    shown = {
        (f"{row['modality_a']}, {row['modality_b']}", row["space"]): f"{row['shared_of_top']} ({row['expected_by_chance']:.1f})"
        for row in rows
        if row["class_a"] == ALL
    }
    k = rows[0]["k"] if rows else 0
    return _by_space(f"shared of the {k} most used entries (by chance)", "modalities", shown)


def _probes(rows: Sequence[Row]) -> Table | None:
    shown = {
        (f"{row['target']} from {row['modality']}, {row['score']}", row["space"]): f"{row['value']:.3f} ({row['shuffled']:.3f})"
        for row in rows
    }
    how = rows[0]["protocol"] if rows else ""
    return _by_space(f"linear readers of the embeddings (of a shuffled target)\n{how}", "read", shown)


def _by_space(title: str, what: str, cells: Mapping[tuple[str, str], str]) -> Table | None:
    """Return a table with a column for each space."""
    if not cells:
        return None
    table = Table(title=title, title_justify="left")
    table.add_column(what)
    spaces = list(dict.fromkeys(space for _, space in cells))
    for space in spaces:
        table.add_column(space, justify="right")
    for name in dict.fromkeys(name for name, _ in cells):
        table.add_row(name, *(cells.get((name, space), "") for space in spaces))
    return table
