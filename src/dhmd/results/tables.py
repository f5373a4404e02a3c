"""Printed tables: every number with its convention, its number of seeds, its deviation and its interval."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dhmd.errors import RunError
from dhmd.evaluation.metrics import LABELS, NOT_A_SHARE
from dhmd.evaluation.statistics import Interval, Summary
from dhmd.results.compare import Bootstrapped, Comparison
from dhmd.results.differences import differences
from dhmd.results.markdown import Document, Sheet, to_markdown
from dhmd.results.pairing import WHOLE, pairings
from dhmd.results.published import PublishedRow, published_rows, relative_gains
from dhmd.results.summary import Group, Table

MAIN_METRICS = ("acc7", "acc2_has_zero", "acc2_non_zero", "f1_non_zero", "mae", "corr")
"""Metrics that a narrow table of a sentiment score shows; ACC2 in both conventions."""

_NONE = "–"
_RANGE = {"mae": (0.0, math.inf), "loss": (-math.inf, math.inf), "corr": (-1.0, 1.0)}


def document(
    tables: Sequence[Table],
    metrics: Sequence[str] = (),
    missing: Mapping[str, str] | None = None,
    *,
    published: str | None = None,
    comparisons: Sequence[Comparison] = (),
    reference: str = "none",
    bootstrap: Sequence[Bootstrapped] | None = None,
    differing: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Document:
    """Return a table for each set of comparable runs and one of its differences, then the runs that are in none of them.

    Args:
        tables: tables from `dhmd.results.summary.tables_of`.
        metrics: keys in order; the main ones by default, or all if the task has none of these.
        missing: runs that failed or have not finished, and why.
        published: "mosi" or "mosei" adds DMD's published rows, each with its source, and the gains that DHMD's paper states.
        comparisons: comparisons from `dhmd.results.compare.compare`.
        reference: reference as given to `dhmd.results.compare.compare`, to say which rows have none.
        bootstrap: intervals from `dhmd.results.compare.bootstrap_rows`, in place of Student's.
        differing: keys and values that distinguish rows which read the same, by configuration.

    Raises:
        RunError: a comparison or an interval does not belong to these rows.
    """
    intervals = None if bootstrap is None else {found.row: found for found in bootstrap}
    sheets = []
    for table, pairing in zip(tables, pairings(tables, reference), strict=True):
        keys = chosen(table, metrics)
        rows = _own_rows(table, keys, intervals)
        notes = [_repeats(table)]
        if published:
            rows = _beside_published(rows, table, keys, published)
            notes = [_strangeness(table, published), *notes]
        notes = [note for note in [*notes, *_told_apart(table, differing), pairing.remark] if note]
        numeric = len(rows[0]) - len(keys) - (3 if published else 2)
        sheets.append(Sheet(caption(table, intervals is not None), rows, notes, numeric, prose=published is not None))
        compared = differences(table, comparisons, keys)
        if compared is not None:
            sheets.append(compared)
    remarks = [_gains(published)] if published else []
    return Document(sheets, [remark for remark in remarks if remark], missing or {})


def markdown(tables: Sequence[Table], metrics: Sequence[str] = (), missing: Mapping[str, str] | None = None) -> str:
    """Return the document without comparisons, as Markdown."""
    return to_markdown(document(tables, metrics, missing))


def reproduction(tables: Sequence[Table], dataset: str, metrics: Sequence[str] = (), missing: Mapping[str, str] | None = None) -> str:
    """Return the document as `markdown` does, with DMD's published rows, each with its source, and the gains that DHMD's paper states.

    Args:
        tables: tables from `dhmd.results.summary.tables_of`.
        dataset: "mosi" or "mosei".
        metrics: keys, in order.
        missing: runs that failed or have not finished, and why.
    """
    return to_markdown(document(tables, metrics, missing, published=dataset))


def beside(table: Table, dataset: str) -> list[PublishedRow]:
    """Return DMD's published rows on features with the table's alignment, or from a source that does not state it."""
    return [row for row in published_rows(dataset, method="DMD") if row.aligned in (None, table.first.aligned)]


def _beside_published(rows: list[list[str]], table: Table, keys: Sequence[str], dataset: str) -> list[list[str]]:
    header, *own = rows
    own = [[*row, "this run" if row[-len(keys) - 1] == "1" else "these runs"] for row in own]
    return [[*header, "source"], *own, *(_published_cells(row, keys, len(header)) for row in beside(table, dataset))]


def caption(table: Table, bootstrap: bool = False) -> str:
    """Return one sentence: data, number of samples, synthetic or not, convention, and meaning of the numbers."""
    e = table.first
    sizes = " / ".join(f"{e.samples[split]} {split}" for split in ("train", "valid", "test") if split in e.samples)
    kind = {True: ", aligned", False: ", unaligned", None: ""}[e.aligned]
    data = f"**{e.data}**" + (" (synthetic data)" if e.synthetic else "")
    convention = f", {e.convention} convention" if e.task == "regression" and e.convention else ""
    encoders = {group.first.text_encoder for group in table.groups}
    text = f", text encoder {e.text_encoder}" if len(encoders) == 1 and e.text_encoder else ""
    several = any(len(group.entries) > 1 for group in table.groups)
    if several:
        how = "bootstrap over seeds and videos" if bootstrap else "Student's t"
        numbers = f"mean ± standard deviation over seeds [95 % interval of the mean, {how}]"
    else:
        numbers = "one seed, so no deviation" + (" [95 % interval, bootstrap over videos]" if bootstrap else "")
    return (
        f"Test split of {data}: {sizes or 'unknown number of'} samples{kind}{text}{convention}; {numbers}; accuracy and F1 in percent; "
        "the epoch is chosen on validation, the test split is read once."
    )


def chosen(table: Table, metrics: Sequence[str]) -> list[str]:
    """Return the metrics that a table shows: those requested, else the main ones, else all but the loss."""
    there = table.metrics()
    wanted = [key for key in metrics or MAIN_METRICS if key in there]
    return wanted or [key for key in there if key != "loss"]


def _own_rows(table: Table, metrics: Sequence[str], intervals: Mapping[tuple[str, ...], Bootstrapped] | None) -> list[list[str]]:
    """Return the header and a row for each group; columns with equal values in every row are omitted, but never the ablation."""
    first = table.groups
    columns = {"model": [g.first.model for g in first]}
    for name in ("text_encoder", "ablation"):
        values = [str(getattr(g.first, name)) for g in first]
        if len(set(values)) > 1 or (name == "ablation" and values[0] not in WHOLE):  # an ablation is never omitted
            columns[name.replace("_", " ")] = [value or _NONE for value in values]
    named = list(zip(*columns.values(), strict=True))
    if len(set(named)) < len(named):  # only numbers were overridden: they distinguish the rows
        columns["configuration"] = [g.first.configuration[:7] for g in first]
    columns["parameters"] = [f"{g.first.parameters / 1e6:.2f} M" for g in first]
    columns["seeds"] = [str(len(g.entries)) for g in first]
    for key in metrics:
        columns[LABELS[key]] = [_number(g, key, intervals) for g in first]
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]


def _told_apart(table: Table, differing: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [group.first.configuration for group in table.groups if group.first.configuration in differing]
    told = {row: ", ".join(f"`{key}={json.dumps(value)}`" for key, value in differing[row].items()) for row in rows}
    return [f"Configuration `{row[:7]}`: {said}." for row, said in told.items() if said]


def interval_of(group: Group, key: str, intervals: Mapping[tuple[str, ...], Bootstrapped] | None) -> Interval | None:
    """Return the interval of a row's mean: Student's, or the bootstrap's if ``intervals`` are given; None if there is none.

    Raises:
        RunError: the row has no bootstrap interval.
    """
    summary = group.summary(key)
    if intervals is None:
        return summary.interval if summary else None
    found = intervals.get(tuple(e.metrics_sha256 for e in group.entries))
    if found is None:
        raise RunError(f"{group.first.run}: no bootstrap interval of its row in the record; write the record again from the runs")
    return Interval(*found.intervals[key]) if key in found.intervals else None


def _number(group: Group, key: str, intervals: Mapping[tuple[str, ...], Bootstrapped] | None) -> str:
    s = group.summary(key)
    return _NONE if s is None else _written(s, interval_of(group, key, intervals), key)


def _written(s: Summary, interval: Interval | None, key: str) -> str:
    factor, digits = (1, 3) if key in NOT_A_SHARE else (100, 1)

    def f(x: float) -> str:
        return f"{factor * x:.{digits}f}"

    number = f(s.mean) if s.std is None else f"{f(s.mean)} ± {f(s.std)}"
    if interval is None:
        return number
    low, high = _RANGE.get(key, (0.0, 1.0))  # with few seeds the interval may exceed the possible range
    return f"{number} [{f(max(interval.low, low))}, {f(min(interval.high, high))}]"


def _published_cells(row: PublishedRow, metrics: Sequence[str], width: int) -> list[str]:
    before = [f"{row.method}, {'published' if row.confidence == 'paper' else 'reported'}"] + [_NONE] * (width - len(metrics) - 1)
    source = f"{row.source} ({row.confidence}{'' if row.aligned is not None else '; alignment not stated'})"
    return [*before, *(row.values.get(key, _NONE) for key in metrics), source]


def _strangeness(table: Table, dataset: str) -> str:
    """Return a remark if the runs did not read the published features."""
    e = table.first
    if e.published_as is not None and e.published_as.startswith(dataset):
        return ""
    what = "synthetic data" if e.synthetic else "not the published feature file"
    return f"The runs read {what}: their rows cannot be compared with published ones."


def _gains(dataset: str) -> str:
    gains = relative_gains(dataset)
    if gains is None:
        return ""
    stated = ", ".join(f"{_short(key)} {value}" for key, value in gains.values.items())
    return (
        f"{gains.method}'s paper states relative gains on {dataset.upper()} of {stated} ({gains.source}); {gains.reference}, "
        "so no published row follows from them."
    )


def _short(key: str) -> str:
    return key.split("_")[0].upper()


def _repeats(table: Table) -> str:
    return "\n".join(f"Repeated by a later run with the same configuration and seed, not counted: `{e.run}`." for e in table.repeats)
