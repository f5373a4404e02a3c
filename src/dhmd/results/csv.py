"""Tables for programs: one line a row and metric, at full precision, and a line for each run that no row counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from dhmd.evaluation.metrics import NOT_A_SHARE
from dhmd.results.compare import Bootstrapped, Comparison
from dhmd.results.differences import adjusted, comparisons_in
from dhmd.results.pairing import row_name
from dhmd.results.summary import Table
from dhmd.results.tables import beside, chosen, interval_of

_DATA = ("data", "synthetic", "aligned", "test_samples", "convention")
_ROW = ("row", "model", "text_encoder", "ablation", "configuration", "parameters")
_NUMBERS = ("metric", "n_seeds", "seeds", "mean", "std", "interval", "low95", "high95")
_COMPARED = ("reference", "common_seeds", "difference", "difference_low95", "difference_high95", "p", "p_holm")
COLUMNS = (*_DATA, *_ROW, *_NUMBERS, *_COMPARED, "source", "confidence", "not_counted", "why")


def to_csv(
    tables: Sequence[Table],
    metrics: Sequence[str] = (),
    missing: Mapping[str, str] | None = None,
    *,
    published: str | None = None,
    comparisons: Sequence[Comparison] = (),
    bootstrap: Sequence[Bootstrapped] | None = None,
) -> str:
    """Return all metrics of all rows as csv; shares are fractions.

    A run that failed, has not finished or is repeated by a later one has a line with its name under ``not_counted`` and the reason
    under ``why``, and nothing under ``metric``.

    Args:
        tables: tables from `dhmd.results.summary.tables_of`.
        metrics: metrics that the printed tables show: ``p_holm`` is corrected over them, and empty for the others.
        missing: runs that failed or have not finished, and why.
        published: "mosi" or "mosei" adds the published numbers that the tables show, each with its source and confidence.
        comparisons: comparisons from `dhmd.results.compare.compare`.
        bootstrap: intervals from `dhmd.results.compare.bootstrap_rows`, in place of Student's.

    Raises:
        RunError: a comparison or an interval does not belong to these rows.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    intervals = None if bootstrap is None else {found.row: found for found in bootstrap}
    for table in tables:
        writer.writerows(_lines(table, metrics, comparisons, intervals))
        writer.writerows(_published(table, metrics, published) if published else ())
        writer.writerows({"not_counted": e.run, "why": "repeated by a later run"} for e in table.repeats)
    writer.writerows({"not_counted": name, "why": why} for name, why in sorted((missing or {}).items()))
    return out.getvalue()


def _published(table: Table, metrics: Sequence[str], dataset: str) -> list[dict[str, Any]]:
    lines = []
    for row in beside(table, dataset):
        for key in chosen(table, metrics):
            if key in row.values:  # printed in percent
                mean = row.values[key] if key in NOT_A_SHARE else str(Decimal(row.values[key]) / 100)
                own = {"data": row.data, "synthetic": False, "aligned": row.aligned, "row": row.method, "model": row.method}
                lines.append({**own, "metric": key, "mean": mean, "source": row.source, "confidence": row.confidence})
    return lines


def _lines(
    table: Table, metrics: Sequence[str], comparisons: Sequence[Comparison], intervals: Mapping[tuple[str, ...], Bootstrapped] | None
) -> list[dict[str, Any]]:
    compared = comparisons_in(table, comparisons)
    p_holm = adjusted(compared, chosen(table, metrics))
    place = {id(one.group): i for i, one in enumerate(compared)}
    lines = []
    for group in table.groups:
        e = group.first
        own = (e.data, e.synthetic, e.aligned, e.samples.get("test"), e.convention)
        row = (row_name(group, table), e.model, e.text_encoder, e.ablation, e.configuration[:7], e.parameters)
        for key in table.metrics():
            s = group.summary(key)
            if s is None:
                continue
            interval = interval_of(group, key, intervals)
            ends = (interval.low, interval.high) if interval else (None, None)
            how = "" if interval is None else ("t" if intervals is None else "bootstrap")
            numbers = (key, s.n, " ".join(map(str, group.seeds)), s.mean, s.std, how, *ends)
            line = dict(zip((*_DATA, *_ROW, *_NUMBERS), (*own, *row, *numbers), strict=True))
            i = place.get(id(group))
            if i is not None and key in compared[i].found.metrics:
                found, reference = compared[i].found, row_name(compared[i].reference, table)
                d = found.metrics[key]
                values = (reference, " ".join(map(str, found.seeds)), d["difference"], d["low"], d["high"], d["p"], p_holm.get((i, key)))
                line |= dict(zip(_COMPARED, values, strict=True))
            lines.append(line)
    return lines
