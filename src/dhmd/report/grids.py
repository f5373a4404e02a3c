"""Tables of the page as plain cells: what is read, and the value that sorts."""

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
    """One cell.

    Attributes:
        text: what is read.
        value: what sorts: a number, or else the text.
        note: a second, smaller line.
    """

    text: str
    value: float | str
    note: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it stands right-aligned and sorts by size."""
        return not isinstance(self.value, str)


@dataclass(frozen=True)
class Grid:
    """A table of the page.

    Attributes:
        name: of the set, for headings.
        caption: what the numbers are.
        synthetic: whether the data were generated.
        header: names of the columns.
        rows: each with a cell a column.
    """

    name: str
    caption: str
    synthetic: bool
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def results_grid(found: Comparable) -> Grid:
    """A row a configuration: every metric as mean, deviation and interval over seeds."""
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
    """A row a run."""
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
    """The data set, called synthetic where it is."""
    return found.table.first.data + (" (synthetic data)" if found.synthetic else "")


def heading(key: str) -> str:
    """A metric with an arrow towards the better."""
    return f"{LABELS[key]} {'↓' if key in LOWER_IS_BETTER else '↑'}"


def factor_of(key: str) -> float:
    """Shares are written in percent."""
    return 1.0 if key in NOT_A_SHARE else 100.0


def written(value: float, key: str, sign: bool = False) -> str:
    """A metric for people, with a true minus sign."""
    digits = 3 if key in NOT_A_SHARE else 1
    return f"{factor_of(key) * value:{'+' if sign else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval_text(low: float, high: float, key: str, sign: bool = False) -> str:
    """Both ends of an interval."""
    return f"[{written(low, key, sign)}, {written(high, key, sign)}]"


def summary_cell(summary: Summary | None, key: str) -> Cell:
    """Mean and deviation, the interval below."""
    if summary is None:
        return Cell(NONE, NONE)
    if summary.std is None or summary.interval is None:
        return Cell(written(summary.mean, key), summary.mean)
    text = f"{written(summary.mean, key)} ± {written(summary.std, key)}"
    return Cell(text, summary.mean, interval_text(summary.interval.low, summary.interval.high, key))


def in_order(metrics: Sequence[str]) -> list[str]:
    """Metrics for choosers: the first is what is seen first, so not the loss."""
    return sorted(metrics, key=lambda key: (key == "loss", key != "mae" and key != "accuracy"))
