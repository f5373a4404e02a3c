"""Tables of the page as plain cells with a text and a value to sort by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dhmd.evaluation.metrics import LABELS, LOWER_IS_BETTER, NOT_A_SHARE
from dhmd.evaluation.statistics import Summary
from dhmd.report.grouping import Comparable, seeds_of
from dhmd.results.tables import caption

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the text shown.
        value: the value to sort by: a number, or else the text.
        note: a second, smaller line.
    """

    text: str
    value: float | str
    note: str = ""

    @property
    def numeric(self) -> bool:
        """True if the cell is right-aligned and sorts by size."""
        return not isinstance(self.value, str)


@dataclass(frozen=True)
class Grid:
    """A table of the page.

    Attributes:
        name: name of the set, for headings.
        caption: description of the numbers.
        synthetic: whether the data were generated.
        header: names of the columns.
        rows: rows with one cell for each column.
    """

    name: str
    caption: str
    synthetic: bool
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def results_grid(found: Comparable) -> Grid:
    """Return a row for each configuration: every metric as mean, deviation and interval over seeds."""
    metrics = found.table.metrics()
    rows = []
    for row in found.rows:
        e, entries = row.group.first, row.group.entries
        cells = [
            Cell(row.name, row.name, "reference" if row.name in found.references else ""),
            Cell(f"{e.parameters / 1e6:.2f} M", e.parameters),
            Cell(str(len(entries)), len(entries), seeds_of(entries)),
        ]
        rows.append((*cells, *(summary_cell(row.group.summary(key), key) for key in metrics)))
    header = ("configuration", "parameters", "seeds", *(heading(key) for key in metrics))
    return Grid(data_name(found), caption(found.table).replace("**", ""), found.synthetic, header, tuple(rows))


def runs_grid(found: Comparable) -> Grid:
    """Return a row for each run."""
    metrics = found.table.metrics()
    rows = []
    for row in found.rows:
        for entry, run in zip(row.group.entries, row.runs, strict=True):
            epoch = run.metrics["selection"].get("epoch")
            kept = Cell(NONE, NONE) if epoch is None else Cell(str(epoch), int(epoch))
            cells = (Cell(entry.run, entry.run), Cell(row.name, row.name), Cell(str(entry.seed), entry.seed), kept)
            values = (Cell(written(entry.test[key], key), entry.test[key]) if key in entry.test else Cell(NONE, NONE) for key in metrics)
            rows.append((*cells, *values))
    header = ("run", "configuration", "seed", "epoch kept", *(heading(key) for key in metrics))
    said = f"Test split of {data_name(found)}; shares in percent."
    return Grid(data_name(found), said, found.synthetic, header, tuple(rows))


def data_name(found: Comparable) -> str:
    """Return the name of the data set, labelled as synthetic if it is."""
    return found.table.first.data + (" (synthetic data)" if found.synthetic else "")


def heading(key: str) -> str:
    """Return the name of a metric with an arrow towards better values."""
    return f"{LABELS[key]} {'↓' if key in LOWER_IS_BETTER else '↑'}"


def factor_of(key: str) -> float:
    """Return the factor by which a metric is printed: 100 for shares, which are in percent, else 1."""
    return 1.0 if key in NOT_A_SHARE else 100.0


def written(value: float, key: str, sign: bool = False) -> str:
    """Return a metric as text, with a true minus sign."""
    digits = 3 if key in NOT_A_SHARE else 1
    return f"{factor_of(key) * value:{'+' if sign else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval_text(low: float, high: float, key: str, sign: bool = False) -> str:
    """Return both ends of an interval as text."""
    return f"[{written(low, key, sign)}, {written(high, key, sign)}]"


def summary_cell(summary: Summary | None, key: str) -> Cell:
    """Return a cell with mean and deviation, and the interval below."""
    if summary is None:
        return Cell(NONE, NONE)
    if summary.std is None or summary.interval is None:
        return Cell(written(summary.mean, key), summary.mean)
    text = f"{written(summary.mean, key)} ± {written(summary.std, key)}"
    return Cell(text, summary.mean, interval_text(summary.interval.low, summary.interval.high, key))


def in_order(metrics: Sequence[str]) -> list[str]:
    """Return the metrics in the order of choosers: the first one is shown first, so it is not the loss."""
    return sorted(metrics, key=lambda key: (key == "loss", key != "mae" and key != "accuracy"))
