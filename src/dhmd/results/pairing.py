"""Choice of the reference row that every other row of a table is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dhmd.errors import UsageError
from dhmd.results.summary import Group, Table

NO_COMPARISON = "none"
WHOLE = ("", "full")
"""Ablations that remove nothing."""


@dataclass(frozen=True)
class Pairing:
    """Pairs of rows of a table that are compared.

    Attributes:
        pairs: positions in ``table.groups`` of a row and of its reference.
        remark: the reason why a row has no reference; "" without a remark.
    """

    pairs: tuple[tuple[int, int], ...]
    remark: str = ""


def row_name(group: Group, table: Table) -> str:
    """Return a row's name, unique in its table: model, text encoder and configuration if they distinguish rows, ablation if any."""
    e = group.first
    encoders = {g.first.text_encoder for g in table.groups}
    name = " ".join(x for x in (e.model, e.text_encoder if len(encoders) > 1 else "", e.ablation) if x)
    same = [g for g in table.groups if (g.first.model, g.first.text_encoder, g.first.ablation) == (e.model, e.text_encoder, e.ablation)]
    return f"{name} {e.configuration[:7]}" if len(same) > 1 else name


def pairings(tables: Sequence[Table], wanted: str = "") -> list[Pairing]:
    """Return the pairs of each table.

    Args:
        tables: tables from `dhmd.results.summary.tables_of`.
        wanted: words of a row, joined by commas: its model, text encoder, ablation ("full": nothing removed) or the beginning of
            its configuration's hash. "" compares each row with an ablation with the row of the same model and text encoder without
            one; "none" compares nothing.

    Raises:
        UsageError: no table has such a row, or a table has several.
    """
    if wanted == NO_COMPARISON:
        return [Pairing(()) for _ in tables]
    if not wanted:
        return [_by_ablation(table) for table in tables]
    found = [_named(table, wanted) for table in tables]
    if not any(pairing.pairs or not pairing.remark for pairing in found):
        rows = sorted({row_name(group, table) for table in tables for group in table.groups})
        raise UsageError(f"--reference {wanted}: no such row; expected words of one of: {'; '.join(rows)}")
    return found


def _by_ablation(table: Table) -> Pairing:
    pairs, lonely = [], []
    for i, group in enumerate(table.groups):
        e = group.first
        if e.ablation in WHOLE:
            continue
        whole = [
            j
            for j, other in enumerate(table.groups)
            if (other.first.model, other.first.text_encoder) == (e.model, e.text_encoder) and other.first.ablation in WHOLE
        ]
        if len(whole) == 1:
            pairs.append((i, whole[0]))
        else:
            lonely.append(f"{row_name(group, table)} ({'no row' if not whole else 'several rows'} of {e.model} without an ablation)")
    remark = f"Compared with nothing: {', '.join(lonely)}; `--reference` names a row to compare with." if lonely else ""
    return Pairing(tuple(pairs), remark)


def _named(table: Table, wanted: str) -> Pairing:
    words = [word.strip() for word in wanted.split(",") if word.strip()]
    found = [i for i, group in enumerate(table.groups) if all(_is(group, word) for word in words)]
    if len(found) > 1:
        found = [i for i in found if table.groups[i].first.ablation in WHOLE] or found
    if len(found) > 1:
        rows = "; ".join(row_name(table.groups[i], table) for i in found)
        raise UsageError(
            f"--reference {wanted}: fits {len(found)} rows ({rows}); add a word that tells them apart, for example its ablation"
        )
    if not found:
        return Pairing((), f"Compared with nothing: the reference {wanted} is not among these rows.")
    return Pairing(tuple((i, found[0]) for i in range(len(table.groups)) if i != found[0]))


def _is(group: Group, word: str) -> bool:
    e = group.first
    if word in WHOLE:
        return e.ablation in WHOLE
    return word in (e.model, e.text_encoder, e.ablation) or (len(word) >= 6 and e.configuration.startswith(word))


def by_reference(pairs: Sequence[tuple[int, int]]) -> Mapping[int, list[int]]:
    """Return the rows compared with each reference, in the table's order."""
    found: dict[int, list[int]] = {}
    for row, reference in sorted(pairs):
        found.setdefault(reference, []).append(row)
    return found
