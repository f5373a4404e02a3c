"""The command ``dhmd report``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from dhmd.errors import UsageError
from dhmd.files import write_text
from dhmd.report.build import Limits, build
from dhmd.report.page import render


def report(
    folder: Path,
    output: Path,
    limits: Limits | None = None,
    reference: str = "",
    unfinished: Callable[[Sequence[Path]], Mapping[Path, str]] = lambda _: {},
) -> str:
    """Write a page about the runs among and below a folder.

    Args:
        folder: a run, a sweep, or a folder of runs at any depth.
        output: path of the page.
        limits: limits on the size of the page.
        reference: words of the row that is the reference (`dhmd.results.pairing.pairings`).
        unfinished: function from folders to the unfinished run folders at and below them, by resolved path, and their states.

    Returns:
        A line about the page written.

    Raises:
        RunError: there is no finished run.
        UsageError: a limit is out of range, the reference matches no row or several, or the page cannot be written.
    """
    limits = limits or Limits()
    for name, value, least in (("--details", limits.details, 1), ("--samples", limits.samples, 0)):
        if value < least:
            raise UsageError(f"{name}: found {value}, expected {least} or more")
    with Console(stderr=True).status("reading and drawing"):
        found = build(folder, limits, reference, unfinished([folder]))
        page = render(found)
    try:
        write_text(output, page)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror or error}); choose another file with -o") from error
    others = f", {len(found.missing)} more named as missing" if found.missing else ""
    runs = "run" if found.finished == 1 else "runs"
    return f"{found.finished} finished {runs}{others}, {len(found.details)} in detail: {output} ({len(page.encode()) / 1e6:.1f} MB)"
