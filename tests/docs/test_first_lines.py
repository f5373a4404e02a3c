"""First lines of docstrings: a sentence or a noun phrase about the thing itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFUSED = frozenset(
    ("What", "Whether", "How", "Of", "Those", "As", "Which", "Where", "When", "That", "Who", "From", "To", "With", "Nobody", "Nothing")
)


def docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the string of every docstring: of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
                yield statement.value


def refused(source: str, name: str) -> list[str]:
    """Return file:line and first line of each docstring that begins with a refused word."""
    found = []
    for text in docstrings(ast.parse(source)):
        lines = str(text.value).strip().splitlines() or [""]
        if re.split(r"\W", lines[0], maxsplit=1)[0] in REFUSED:
            found.append(f"{name}:{text.lineno}: {lines[0]}")
    return found


@pytest.mark.parametrize("folder", ["src", "benchmarks", "tests", "docs"])
def test_a_docstring_begins_with_the_thing_itself(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [line for file in files for line in refused(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT)))]
    assert not wrong, "begin with a noun phrase, or a verb such as Return:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        '"""What a run holds."""',
        'class A:\n    """How it is done."""',
        'def f():\n    """Whether it is so."""',
        'class A:\n    x = 1\n    """Of the batch."""',
        'if True:\n    def f():\n        """\n        From x.\n        """',
    ],
)
def test_a_refused_word_is_found(source: str) -> None:
    assert len(refused(source, "a.py")) == 1


def test_the_message_names_file_and_line() -> None:
    assert refused('x = 1\n"""Where it lies."""\n"""Whatever is left."""', "a.py") == ["a.py:2: Where it lies."]
