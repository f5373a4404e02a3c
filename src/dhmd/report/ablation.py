"""Ablations on the page: every configuration against its reference, as `dhmd results` compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dhmd.evaluation.metrics import LABELS, LOWER_IS_BETTER, NOT_A_SHARE
from dhmd.evaluation.statistics import Interval
from dhmd.report.forest import Estimate, axis, interval_mark, scale
from dhmd.report.grids import NONE, data_name, factor_of, in_order, interval_text, written
from dhmd.report.grouping import Comparable
from dhmd.results.compare import Comparison
from dhmd.results.differences import Compared, adjusted, comparisons_in
from dhmd.results.tables import chosen


@dataclass(frozen=True)
class ForestRow:
    """A configuration against its reference.

    Attributes:
        name: name of the configuration.
        seeds: seeds that both have.
        mark: the interval on the common scale.
        difference: this configuration minus the reference, as text.
        interval: interval of the difference, as text.
        p: p-value, as text.
        p_holm: after Holm's correction, as text.
        value: the difference, for sorting.
        adjusted: the corrected p-value, for sorting; 2 if there is none.
    """

    name: str
    seeds: int
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
    """The forests of the rows that have one reference.

    Attributes:
        data: the data set, labelled as synthetic if it is.
        synthetic: whether the data were generated.
        reference: name of the reference.
        tests: number of comparisons that p-values are corrected for.
        forests: one forest for each metric.
        remarks: reasons why a comparison or its test is missing.
    """

    data: str
    synthetic: bool
    reference: str
    tests: int
    forests: tuple[Forest, ...]
    remarks: tuple[str, ...]


def ablations(found: Comparable, comparisons: Sequence[Comparison]) -> list[Ablation]:
    """Return the comparisons of a set of comparable runs, by reference; none if nothing is compared.

    Args:
        found: the rows.
        comparisons: comparisons from `dhmd.results.compare.compare`, of any tables.
    """
    compared = comparisons_in(found.table, comparisons)
    keys = in_order(chosen(found.table, ()))
    p = adjusted(compared, keys)
    names = {id(row.group): row.name for row in found.rows}
    done = []
    for reference in dict.fromkeys(names[id(one.reference)] for one in compared):
        rows = {i: one for i, one in enumerate(compared) if names[id(one.reference)] == reference}
        forests = tuple(forest for key in keys if (forest := _forest(rows, names, key, p)))
        remarks = tuple(f"{names[id(one.group)]}: {one.found.why}" for one in rows.values() if one.found.why)
        done.append(Ablation(data_name(found), found.synthetic, reference, len(p), forests, remarks))
    return done


def _forest(rows: Mapping[int, Compared], names: Mapping[int, str], key: str, p: Mapping[tuple[int, str], float]) -> Forest | None:
    estimates = {i: estimate for i, one in rows.items() if (estimate := _estimate(one, key))}
    if not estimates:
        return None
    ends = scale(list(estimates.values()))
    shown = tuple(_row(names[id(rows[i].group)], rows[i], e, key, ends, p.get((i, key))) for i, e in estimates.items())
    unit = "" if key in NOT_A_SHARE else "percentage points"
    return Forest(key, LABELS[key], "left" if key in LOWER_IS_BETTER else "right", unit, shown, axis(ends))


def _estimate(one: Compared, key: str) -> Estimate | None:
    found = one.found.metrics.get(key, {})
    mean, low, high = found.get("difference"), found.get("low"), found.get("high")
    if mean is None:
        return None
    factor = factor_of(key)
    if low is None or high is None:
        return Estimate(factor * mean, None, "even")
    gain = -mean if key in LOWER_IS_BETTER else mean
    side = "even" if low <= 0 <= high else "better" if gain > 0 else "worse"
    return Estimate(factor * mean, Interval(factor * low, factor * high), side)


def _row(name: str, one: Compared, e: Estimate, key: str, ends: tuple[float, float], p_holm: float | None) -> ForestRow:
    factor = factor_of(key)
    difference = written(e.mean / factor, key, sign=True)
    interval = interval_text(e.interval.low / factor, e.interval.high / factor, key, sign=True) if e.interval else NONE
    p = one.found.metrics[key].get("p")
    return ForestRow(
        name=name,
        seeds=len(one.found.seeds),
        mark=interval_mark(f"{name}: {difference} {interval}", e, ends),
        difference=difference,
        interval=interval,
        p=_probability(p),
        p_holm=_probability(p_holm),
        value=e.mean,
        adjusted=2.0 if p_holm is None else p_holm,
    )


def _probability(p: float | None) -> str:
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
