"""What each part is worth: every configuration against the reference, paired by seed."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from dhmd.evaluation.metrics import LABELS, LOWER_IS_BETTER, NOT_A_SHARE
from dhmd.evaluation.statistics import Difference, holm, paired_difference
from dhmd.report.forest import axis, interval_mark, scale
from dhmd.report.grids import NONE, data_name, factor_of, in_order, interval_text, written
from dhmd.report.grouping import Comparable, Row


@dataclass(frozen=True)
class ForestRow:
    """A configuration against the reference.

    Attributes:
        name: of the configuration.
        n: seeds that both have.
        mark: the interval on the common scale.
        difference: this configuration minus the reference, and its interval, as text.
        p: p-value and that after Holm's correction, as text.
        value: the mean, for sorting.
        adjusted: the corrected p-value, for sorting; 2 where there is none.
    """

    name: str
    n: int
    mark: Markup
    difference: str
    interval: str
    p: str
    p_holm: str
    value: float
    adjusted: float


@dataclass(frozen=True)
class Forest:
    """All rows of a metric."""

    key: str
    label: str
    better: str
    unit: str
    rows: tuple[ForestRow, ...]
    axis: Markup


@dataclass(frozen=True)
class Ablation:
    """The forests of a set of comparable runs."""

    data: str
    synthetic: bool
    reference: str
    forests: tuple[Forest, ...]
    unpaired: tuple[str, ...]


def ablation(found: Comparable) -> Ablation | None:
    """Differences to the reference over the seeds that both have; None where there is nothing to compare."""
    if found.reference is None or len(found.rows) < 2:
        return None
    others = [row for row in found.rows if row is not found.reference]
    shared = [row for row in others if set(row.group.seeds) & set(found.reference.group.seeds)]
    forests = tuple(forest for key in in_order(found.table.metrics()) if (forest := _forest(found.reference, shared, key)))
    unpaired = tuple(row.name for row in others if row not in shared)
    return Ablation(data_name(found), found.synthetic, found.reference.name, forests, unpaired)


def _forest(reference: Row, others: list[Row], key: str) -> Forest | None:
    differences = [(row, difference) for row in others if (difference := _difference(row, reference, key))]
    if not differences:
        return None
    factor = factor_of(key)
    ends = scale([difference for _, difference in differences], factor)
    tested = [difference.p for _, difference in differences if difference.p is not None]
    adjusted = iter(holm(tested))
    rows = tuple(_row(row, d, key, ends, None if d.p is None else next(adjusted)) for row, d in differences)
    unit = "" if key in NOT_A_SHARE else "percentage points"
    return Forest(key, LABELS[key], "left" if key in LOWER_IS_BETTER else "right", unit, rows, axis(ends))


def _difference(row: Row, reference: Row, key: str) -> Difference | None:
    a, b = ({entry.seed: entry.test[key] for entry in one.group.entries if key in entry.test} for one in (row, reference))
    seeds = sorted(a.keys() & b.keys())
    return paired_difference([a[s] for s in seeds], [b[s] for s in seeds]) if seeds else None


def _row(row: Row, d: Difference, key: str, ends: tuple[float, float], adjusted: float | None) -> ForestRow:
    gain = -d.mean if key in LOWER_IS_BETTER else d.mean
    clear = d.interval is not None and not d.interval.low <= 0 <= d.interval.high
    side = "even" if not clear else "better" if gain > 0 else "worse"
    difference = written(d.mean, key, sign=True)
    interval = interval_text(d.interval.low, d.interval.high, key, sign=True) if d.interval else NONE
    mark = interval_mark(f"{row.name}: {difference} {interval}", d, ends, factor_of(key), side)
    p, p_holm = ((NONE if value is None else _probability(value)) for value in (d.p, adjusted))
    return ForestRow(row.name, d.n, mark, difference, interval, p, p_holm, d.mean, 2.0 if adjusted is None else adjusted)


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
