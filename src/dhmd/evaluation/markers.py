"""Text that a command writes into a document, between ``<!-- results:NAME -->`` and ``<!-- /results:NAME -->``."""

from __future__ import annotations

from pathlib import Path

from dhmd.atomic import write_text
from dhmd.errors import UsageError


def update_between_markers(file: Path, name: str, text: str) -> bool:
    """Replace what stands between the markers; everything else keeps its place. Returns whether the file changed.

    Raises:
        UsageError: the file is missing, or does not hold both markers once and in order.
    """
    content, start, end = _find(file, name)
    updated = f"{content[:start]}\n{text.strip()}\n{content[end:]}"
    if updated != content:
        write_text(file, updated)
    return updated != content


def between_markers(file: Path, name: str) -> str:
    """What stands between the markers, without the line breaks beside them.

    Raises:
        UsageError: the file is missing, or does not hold both markers once and in order.
    """
    content, start, end = _find(file, name)
    return content[start:end].strip()


def _find(file: Path, name: str) -> tuple[str, int, int]:
    opening, closing = f"<!-- results:{name} -->", f"<!-- /results:{name} -->"
    if not file.is_file():
        raise UsageError(f"{file}: no such file; expected a document with {opening} and {closing}")
    with file.open(encoding="utf-8", newline="") as handle:  # line ends as they are
        content = handle.read()
    found = (content.count(opening), content.count(closing))
    if found != (1, 1) or content.index(opening) > content.index(closing):
        raise UsageError(f"{file}: found {found[0]} of {opening} and {found[1]} of {closing}, expected one of each, in this order")
    return content, content.index(opening) + len(opening), content.index(closing)
