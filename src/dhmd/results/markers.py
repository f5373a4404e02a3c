"""Text that a command writes into a document, between ``<!-- COMMAND:NAME -->`` and ``<!-- /COMMAND:NAME -->``."""

from __future__ import annotations

from pathlib import Path

from dhmd.errors import RunError, UsageError
from dhmd.files import write_text


def update_between_markers(file: Path, name: str, text: str, command: str = "results") -> bool:
    """Replace the text between the markers, leave everything else unchanged, and return whether the file changed.

    Raises:
        UsageError: the file is missing, or does not hold both markers once and in order.
    """
    content, start, end = _find(file, name, command)
    updated = f"{content[:start]}\n{text.strip()}\n{content[end:]}"
    if updated != content:
        write_text(file, updated)
    return updated != content


def check_between_markers(file: Path, name: str, text: str, command: str = "results") -> None:
    """Check that the text between the markers is ``text``.

    Raises:
        RunError: a line differs.
        UsageError: the file is missing, or does not hold both markers once and in order.
    """
    expected, found = text.strip().splitlines(), between_markers(file, name, command).splitlines()
    place, remedy = f"{file}: {command}:{name}", f"write it again with `dhmd {command}`"
    for number, (ours, theirs) in enumerate(zip(expected, found, strict=False), start=1):
        if ours != theirs:
            raise RunError(f"{place}, line {number}: found {theirs!r}, the runs give {ours!r}; {remedy}")
    if len(expected) != len(found):
        raise RunError(f"{place}: found {len(found)} lines, the runs give {len(expected)}; {remedy}")


def between_markers(file: Path, name: str, command: str = "results") -> str:
    """Return the text between the markers, without the line breaks beside them.

    Raises:
        UsageError: the file is missing, or does not hold both markers once and in order.
    """
    content, start, end = _find(file, name, command)
    return content[start:end].strip()


def _find(file: Path, name: str, command: str) -> tuple[str, int, int]:
    opening, closing = f"<!-- {command}:{name} -->", f"<!-- /{command}:{name} -->"
    if not file.is_file():
        raise UsageError(f"{file}: no such file; expected a document with {opening} and {closing}")
    with file.open(encoding="utf-8", newline="") as handle:  # line ends are kept
        content = handle.read()
    found = (content.count(opening), content.count(closing))
    if found != (1, 1) or content.index(opening) > content.index(closing):
        raise UsageError(f"{file}: found {found[0]} of {opening} and {found[1]} of {closing}, expected one of each, in this order")
    return content, content.index(opening) + len(opening), content.index(closing)
