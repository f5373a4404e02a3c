"""The command ``dhmd report``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from dhmd.atomic import write_text
from dhmd.errors import UsageError
from dhmd.report.build import Limits, build
from dhmd.report.page import render


def report(folder: Path, output: Path, details: int = 12, samples: int = 200, texts: bool = True) -> str:
    """Write a page about the runs among and below a folder.

    Args:
        folder: a run, a sweep, or a folder of runs at any depth.
        output: the page.
        details: at most so many runs in detail, the first of each configuration.
        samples: at most so many samples of each of these.
        texts: whether texts of samples are on the page.

    Returns:
        A line about what was written.

    Raises:
        RunError: there is no finished run, or a file of one is damaged.
        UsageError: a number is out of range, or the page cannot be written.
    """
    for name, value, least in (("--details", details, 1), ("--samples", samples, 0)):
        if value < least:
            raise UsageError(f"{name}: found {value}, expected {least} or more")
    with Console(stderr=True).status("reading and drawing"):
        found = build(folder, Limits(details, samples, texts))
        page = render(found)
    try:
        write_text(output, page)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror or error}); choose another file with -o") from error
    others = f", {len(found.missing)} more named as missing" if found.missing else ""
    return f"{found.finished} finished runs{others}, {len(found.details)} in detail: {output} ({len(page.encode()) / 1e6:.1f} MB)"
