"""Tables as LaTeX: booktabs rules, every character of the text escaped, and no other package needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dhmd.results.markdown import MISSING, Document, Sheet

_ESCAPED = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "\n": " ",
}
_MINUS = re.compile(r"(?<![\w.$-])-(?=\d)")
_MARKED = re.compile(r"(\*\*.+?\*\*|`.+?`)")


def to_latex(document: Document) -> str:
    """Return a ``table`` for each table with notes below it, and a list of the runs that are in none."""
    parts = [r"% needs \usepackage{booktabs}", *map(_table, document.sheets), *map(_text, document.remarks)]
    if document.missing:
        items = [f"\\item \\texttt{{{escape(name)}}}: {escape(why)}" for name, why in sorted(document.missing.items())]
        parts.append("\n".join([MISSING, r"\begin{itemize}", *items, r"\end{itemize}"]))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    r"""Return text as LaTeX prints it: special characters, signs and minus signs before digits.

    >>> escape("no_gd: 95 % of a & b, -0.3 ± 0.1")
    'no\\_gd: 95 \\% of a \\& b, $-$0.3 $\\pm$ 0.1'
    """
    minus = "\0"
    escaped = "".join(_ESCAPED.get(c, c) for c in _MINUS.sub(minus, text))
    return escaped.replace(minus, "$-$")


def _table(sheet: Sheet) -> str:
    header, *body = sheet.rows
    columns = "l" * sheet.numeric + "c" * (len(header) - sheet.numeric - sheet.prose) + r"p{0.25\linewidth}" * sheet.prose
    notes = [
        r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize",
        *(f"{_text(note)}\\par" for note in sheet.notes),
        r"\end{minipage}",
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            f"\\caption{{{_text(sheet.caption)}}}",
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _row(header),
            r"\midrule",
            *map(_row, body),
            r"\bottomrule",
            r"\end{tabular}",
            *(notes if sheet.notes else []),
            r"\end{table}",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(text: str) -> str:
    """Return a cell with its interval below the number, smaller: a table of six metrics would not fit a page otherwise."""
    number, bracket, rest = text.partition(" [")
    if bracket and rest[:1] in "+-.0123456789":
        return f"\\shortstack{{{escape(number)}\\\\{{\\scriptsize [{escape(rest)}}}}}"
    escaped = escape(text)
    return f"{{{escaped}}}" if escaped.startswith("[") else escaped  # after \\ it would be an option


def _text(text: str) -> str:
    parts = []
    for part in _MARKED.split(text):
        if part.startswith("**"):
            parts.append(f"\\textbf{{{escape(part[2:-2])}}}")
        elif part.startswith("`"):
            parts.append(f"\\texttt{{{escape(part[1:-1])}}}")
        else:
            parts.append(escape(part))
    return "".join(parts)
