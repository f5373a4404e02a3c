"""Tables for people: every number with its convention, its number of seeds, its deviation and its interval."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from dhmd.evaluation.entries import Group, Table
from dhmd.evaluation.metrics import LABELS, NOT_A_SHARE
from dhmd.evaluation.published import PublishedRow, published_rows, relative_gains
from dhmd.evaluation.statistics import Summary

MAIN_METRICS = ("acc7", "acc2_has_zero", "acc2_non_zero", "f1_non_zero", "mae", "corr")
"""What a narrow table of a sentiment score shows; ACC2 in both conventions."""

_NONE = "–"
_RANGE = {"mae": (0.0, math.inf), "loss": (-math.inf, math.inf), "corr": (-1.0, 1.0)}


def markdown(tables: Sequence[Table], metrics: Sequence[str] = (), missing: Mapping[str, str] | None = None) -> str:
    """A caption and a table for each set of comparable runs, then the runs that are in none of them.

    Args:
        tables: from `dhmd.evaluation.entries.tables_of`.
        metrics: keys, in order; the main ones by default, all where the task has none of these.
        missing: the runs that failed or have not finished, and why.
    """
    parts = [part for table in tables for part in (caption(table), _grid(_own_rows(table, _chosen(table, metrics))), _repeats(table))]
    return "\n\n".join(part for part in [*parts, not_in_the_table(missing or {})] if part) + "\n"


def reproduction(tables: Sequence[Table], dataset: str, metrics: Sequence[str] = (), missing: Mapping[str, str] | None = None) -> str:
    """As `markdown`, with DMD's published rows under ours, each with its source, and the gains DHMD's paper states.

    Args:
        tables: from `dhmd.evaluation.entries.tables_of`.
        dataset: "mosi" or "mosei".
        metrics: keys, in order.
        missing: the runs that failed or have not finished, and why.
    """
    parts = []
    for table in tables:
        keys = _chosen(table, metrics)
        header, *rows = _own_rows(table, keys)
        rows = [[*row, "this run" if row[-len(keys) - 1] == "1" else "these runs"] for row in rows]
        published = [row for row in published_rows(dataset, method="DMD") if row.aligned in (None, table.first.aligned)]
        rows += [_published_cells(row, keys, len(header)) for row in published]
        parts += [caption(table), _grid([[*header, "source"], *rows]), _strangeness(table, dataset), _repeats(table)]
    parts += [_gains(dataset), not_in_the_table(missing or {})]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_csv(tables: Sequence[Table]) -> str:
    """One line a row and metric, at full precision; shares are fractions."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [
        "data",
        "synthetic",
        "aligned",
        "test_samples",
        "convention",
        "model",
        "text_encoder",
        "ablation",
        "configuration",
        "parameters",
    ]
    writer.writerow([*names, "metric", "n_seeds", "seeds", "mean", "std", "low95", "high95"])
    for table in tables:
        for group in table.groups:
            e = group.first
            own = [e.data, e.synthetic, e.aligned, e.samples.get("test"), e.convention, e.model, e.text_encoder, e.ablation]
            for key in table.metrics():
                s = group.summary(key)
                if s is not None:
                    interval = (s.interval.low, s.interval.high) if s.interval else (None, None)
                    seeds = " ".join(map(str, group.seeds))
                    writer.writerow([*own, e.configuration[:7], e.parameters, key, s.n, seeds, s.mean, s.std, *interval])
    return out.getvalue()


def caption(table: Table) -> str:
    """One sentence: which data and how many samples, synthetic or not, the convention, and what the numbers are."""
    e = table.first
    sizes = " / ".join(f"{e.samples[split]} {split}" for split in ("train", "valid", "test") if split in e.samples)
    kind = {True: ", aligned", False: ", unaligned", None: ""}[e.aligned]
    data = f"**{e.data}**" + (" (synthetic data)" if e.synthetic else "")
    convention = f", {e.convention} convention" if e.task == "regression" and e.convention else ""
    encoders = {group.first.text_encoder for group in table.groups}
    text = f", text encoder {e.text_encoder}" if len(encoders) == 1 and e.text_encoder else ""
    several = any(len(group.entries) > 1 for group in table.groups)
    numbers = "mean ± standard deviation over seeds [95 % interval of the mean, Student's t]" if several else "one seed, so no deviation"
    return (
        f"Test split of {data}: {sizes or 'unknown number of'} samples{kind}{text}{convention}; {numbers}; accuracy and F1 in percent; "
        "the epoch is chosen on validation, the test split is read once."
    )


def not_in_the_table(missing: Mapping[str, str]) -> str:
    """The runs that failed or have not finished, by name; nothing where there are none."""
    if not missing:
        return ""
    return "\n".join(["Not in the table:", "", *(f"- `{name}`: {_cell(why)}" for name, why in sorted(missing.items()))])


def _chosen(table: Table, metrics: Sequence[str]) -> list[str]:
    there = table.metrics()
    wanted = [key for key in metrics or MAIN_METRICS if key in there]
    return wanted or [key for key in there if key != "loss"]


def _own_rows(table: Table, metrics: Sequence[str]) -> list[list[str]]:
    """Header and a row a group; columns that say the same in every row are left out."""
    first = table.groups
    columns = {"model": [g.first.model for g in first]}
    for name in ("text_encoder", "ablation"):
        values = [str(getattr(g.first, name)) for g in first]
        if len(set(values)) > 1:
            columns[name.replace("_", " ")] = [value or _NONE for value in values]
    named = list(zip(*columns.values(), strict=True))
    if len(set(named)) < len(named):  # only numbers were overridden: tell the rows apart
        columns["configuration"] = [g.first.configuration[:7] for g in first]
    columns["parameters"] = [f"{g.first.parameters / 1e6:.2f} M" for g in first]
    columns["seeds"] = [str(len(g.entries)) for g in first]
    for key in metrics:
        columns[LABELS[key]] = [_number(g, key) for g in first]
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]


def _number(group: Group, key: str) -> str:
    s = group.summary(key)
    return _NONE if s is None else _written(s, key)


def _written(s: Summary, key: str) -> str:
    factor, digits = (1, 3) if key in NOT_A_SHARE else (100, 1)

    def f(x: float) -> str:
        return f"{factor * x:.{digits}f}"

    if s.std is None or s.interval is None:
        return f(s.mean)
    low, high = _RANGE.get(key, (0.0, 1.0))  # of few seeds the interval may reach beyond what is possible
    return f"{f(s.mean)} ± {f(s.std)} [{f(max(s.interval.low, low))}, {f(min(s.interval.high, high))}]"


def _published_cells(row: PublishedRow, metrics: Sequence[str], width: int) -> list[str]:
    before = [f"{row.method}, {'published' if row.confidence == 'paper' else 'reported'}"] + [_NONE] * (width - len(metrics) - 1)
    source = f"{row.source} ({row.confidence}{'' if row.aligned is not None else '; alignment not stated'})"
    return [*before, *(row.values.get(key, _NONE) for key in metrics), source]


def _strangeness(table: Table, dataset: str) -> str:
    """A remark where the runs did not read the published features."""
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


def _grid(rows: Sequence[Sequence[str]]) -> str:
    header, *body = [[_cell(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
