"""Tables as cells of text, for Markdown or LaTeX. Captions and notes may hold ``**bold**`` and `` `code` ``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MISSING = "Not in the table:"


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        caption: caption above the table.
        rows: the header and the rows, all of one length.
        notes: notes below the table, a line each.
        numeric: position of the first column of numbers.
        prose: whether the last column holds sentences.
    """

    caption: str
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    numeric: int = 1
    prose: bool = False


@dataclass(frozen=True)
class Document:
    """Tables and the remarks below all of them.

    Attributes:
        sheets: tables in order.
        remarks: remarks, a paragraph each.
        missing: runs that failed or have not finished, and why.
    """

    sheets: Sequence[Sheet]
    remarks: Sequence[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


def to_markdown(document: Document) -> str:
    """Return the document as Markdown, with an empty line between its parts."""
    parts = [part for sheet in document.sheets for part in (sheet.caption, _grid(sheet.rows), "\n".join(sheet.notes))]
    parts += [*document.remarks, not_in_the_table(document.missing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def not_in_the_table(missing: Mapping[str, str]) -> str:
    """Return lines about the runs that failed or have not finished, by name; none if there are none."""
    if not missing:
        return ""
    return "\n".join([MISSING, "", *(f"- `{name}`: {_cell(why)}" for name, why in sorted(missing.items()))])


def _grid(rows: Sequence[Sequence[str]]) -> str:
    header, *body = [[_cell(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
