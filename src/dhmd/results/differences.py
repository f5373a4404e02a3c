"""The table of differences: each row against its reference, with Holm's correction over everything that the table shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dhmd.errors import RunError
from dhmd.evaluation.metrics import LABELS, LOWER_IS_BETTER, NOT_A_SHARE
from dhmd.evaluation.statistics import holm
from dhmd.results.compare import Comparison
from dhmd.results.markdown import Sheet
from dhmd.results.pairing import row_name
from dhmd.results.summary import Group, Table

_NONE = "–"


@dataclass(frozen=True)
class Compared:
    """A comparison in its table.

    Attributes:
        group: the row.
        reference: its reference.
        found: the computed comparison.
    """

    group: Group
    reference: Group
    found: Comparison


def comparisons_in(table: Table, comparisons: Sequence[Comparison]) -> list[Compared]:
    """Return the comparisons of a table's rows, in its order.

    Raises:
        RunError: a difference disagrees with the runs' metrics.
    """
    groups = {tuple(e.metrics_sha256 for e in g.entries): g for g in table.groups}
    found = [Compared(groups[c.row], groups[c.reference], c) for c in comparisons if c.row in groups and c.reference in groups]
    for one in found:
        _check(one)
    order = {id(g): i for i, g in enumerate(table.groups)}
    return sorted(found, key=lambda one: (order[id(one.reference)], order[id(one.group)]))


def adjusted(compared: Sequence[Compared], metrics: Sequence[str]) -> dict[tuple[int, str], float]:
    """Return p-values after Holm's correction over these rows and metrics, by position in ``compared`` and metric, of tested ones."""
    raw = {
        (i, key): p
        for i, one in enumerate(compared)
        for key in metrics
        if (p := one.found.metrics.get(key, {}).get("p")) is not None  # 1.0 is a p-value, too
    }
    return dict(zip(raw, holm(list(raw.values())), strict=True))


def differences(table: Table, comparisons: Sequence[Comparison], metrics: Sequence[str]) -> Sheet | None:
    """Return the table of a set of rows' comparisons; None if there are none.

    Args:
        table: the table of the rows.
        comparisons: comparisons of any tables.
        metrics: keys of the metrics that are shown and corrected for.

    Raises:
        RunError: a difference disagrees with the runs' metrics.
    """
    compared = comparisons_in(table, comparisons)
    keys = [key for key in metrics if any(key in one.found.metrics for one in compared)]
    if not compared:
        return None
    p = adjusted(compared, keys)
    several = len({id(one.reference) for one in compared}) > 1
    header = ["row", *(["reference"] if several else []), "common seeds", *(LABELS[key] for key in keys)]
    rows = [header]
    for i, one in enumerate(compared):
        cells = [_written(one.found.metrics.get(key), key, p.get((i, key))) for key in keys]
        reference = [row_name(one.reference, table)] if several else []
        rows.append([row_name(one.group, table), *reference, str(len(one.found.seeds)), *cells])
    return Sheet(_caption(table, compared, keys, len(p)), rows, _notes(table, compared), numeric=len(header) - len(keys) - 1)


def _caption(table: Table, compared: Sequence[Compared], keys: Sequence[str], tests: int) -> str:
    e = table.first
    data = f"**{e.data}**" + (" (synthetic data)" if e.synthetic else "")
    references = list(dict.fromkeys(row_name(one.reference, table) for one in compared))
    to = f"to **{references[0]}**" if len(references) == 1 else "to each row's reference"
    sizes = {(one.found.samples, one.found.videos) for one in compared if one.found.samples}
    on = ", ".join(f"{n} test samples of {videos} videos" if videos < n else f"{n} test samples" for n, videos in sorted(sizes))
    lower = " and ".join(LABELS[key] for key in keys if key in LOWER_IS_BETTER)
    parts = [f"Differences {to} on {data}, paired by seed and sample{f' ({on})' if on else ''}: row minus reference"]
    if tests:
        parts[0] += (
            f" [95 % interval], p of a test over seeds and videos after Holm's correction over these {tests} comparisons "
            f"(rows {len(compared)}, metrics {len(keys)})"
        )
        parts.append("intervals are not corrected")
    if any(key not in NOT_A_SHARE for key in keys):
        parts.append("accuracy and F1 in percentage points")
    return "; ".join([*parts, *([f"a lower {lower} is better"] if lower else [])]) + "."


def _notes(table: Table, compared: Sequence[Compared]) -> list[str]:
    notes = []
    for one in compared:
        row, reference, seeds = row_name(one.group, table), row_name(one.reference, table), one.found.seeds
        if not seeds:
            own, other = (", ".join(map(str, g.seeds)) for g in (one.group, one.reference))
            notes.append(f"`{row}` (seeds {own}) has no seed in common with `{reference}` (seeds {other}): not compared.")
            continue
        if not seeds == one.group.seeds == one.reference.seeds:
            which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
            notes.append(f"`{row}` and `{reference}` have {which} in common; the others are left out here.")
        if one.found.why:
            notes.append(f"`{row}` is not tested: {one.found.why}.")
    return notes


def _written(found: Mapping[str, float | None] | None, key: str, p: float | None) -> str:
    if found is None or found["difference"] is None:
        return _NONE
    factor, digits = (1, 3) if key in NOT_A_SHARE else (100, 1)

    def f(x: float | None) -> str:
        return _NONE if x is None else f"{round(factor * x, digits) + 0.0:+.{digits}f}"  # + 0.0: no -0.0

    if p is None:
        return f(found["difference"])
    tested = "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.9995 else "= 1"
    return f"{f(found['difference'])} [{f(found['low'])}, {f(found['high'])}], p {tested}"


def _check(one: Compared) -> None:
    ours, theirs = ({e.seed: e.test for e in g.entries} for g in (one.group, one.reference))
    for key, values in one.found.metrics.items():
        mean = sum(ours[s][key] - theirs[s][key] for s in one.found.seeds) / len(one.found.seeds)
        if abs(mean - (values["difference"] or 0.0)) > 1e-9:
            raise RunError(
                f"comparison of {one.group.first.run}: {key}: found a difference of {values['difference']}, the entries give {mean}; "
                "write the record again from the runs"
            )
