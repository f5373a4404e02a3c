"""Tables and rows of `dhmd results`, with a name for every row and the runs behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dhmd.report.configuration import varying
from dhmd.results.pairing import pairings
from dhmd.results.summary import Entry, Group, Table, entry_of, tables_of
from dhmd.runs.reader import Run

_NAMED_KEYS = 3


@dataclass(frozen=True)
class Row:
    """Runs that differ by seed alone.

    Attributes:
        name: model and ablation and, if these are not unique, the text encoder and the keys that differ.
        group: the runs' entries in the table.
        runs: the runs, in the order of the entries.
    """

    name: str
    group: Group
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Comparable:
    """Rows on the same data, samples and convention.

    Attributes:
        table: table from `dhmd.results.summary`.
        rows: one row for each group of the table, references first.
        references: names of the reference rows.
    """

    table: Table
    rows: tuple[Row, ...]
    references: frozenset[str]

    @property
    def synthetic(self) -> bool:
        """True if the data were generated."""
        return self.table.first.synthetic


def comparables(runs: Sequence[Run], reference: str = "") -> list[Comparable]:
    """Group finished runs as `dhmd results` does.

    Args:
        runs: one or more runs.
        reference: words of a row (`dhmd.results.pairing.pairings`).

    Raises:
        UsageError: the reference matches no row, or several.
    """
    entries = [entry_of(run) for run in runs]
    of = {id(entry): run for entry, run in zip(entries, runs, strict=True)}
    found = []
    tables = tables_of(entries)
    for table, pairing in zip(tables, pairings(tables, reference), strict=True):
        names = _names(table.groups, of)
        rows = [Row(name, group, tuple(of[id(e)] for e in group.entries)) for name, group in zip(names, table.groups, strict=True)]
        references = frozenset(names[other] for _, other in pairing.pairs)
        rows.sort(key=lambda row: row.name not in references)
        found.append(Comparable(table, tuple(rows), references))
    return found


def _names(groups: Sequence[Group], of: Mapping[int, Run]) -> list[str]:
    encoders = {group.first.text_encoder for group in groups}
    names = []
    for group in groups:
        e = group.first
        names.append(", ".join(part for part in (e.model, e.text_encoder if len(encoders) > 1 else "", e.ablation) if part))
    for name, count in Counter(names).items():
        if count > 1:  # only numbers were overridden: they distinguish the rows
            alike = sorted((i for i, other in enumerate(names) if other == name), key=lambda i: groups[i].first.run)  # not by digest
            differing = list(varying([of[id(groups[i].first)] for i in alike]).items())[:_NAMED_KEYS]
            for place, i in enumerate(alike):
                said = ", ".join(f"{key.split('.')[-1]}={values[place]}" for key, values in differing)
                names[i] = f"{name}, {said or groups[i].first.configuration[:7]}"
    return names


def seeds_of(entries: Sequence[Entry]) -> str:
    """Return seeds as text, consecutive ones as a range."""
    seeds = [entry.seed for entry in entries]
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
