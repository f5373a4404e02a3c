"""``python -m tests.parity FILE.npz ...``: our networks against reference numbers of public code.

One line a file; what is off is named on standard error. The exit status is 1 where a file is off, 2 where one is of no known dialect.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import torch

from tests.parity.adapters import adapters, dialect_of
from tests.parity.compare import Comparison, compare
from tests.parity.dialect import BASELINE, Dialect
from tests.parity.reference import Found, Reference

OK, OFF, UNKNOWN = 0, 1, 2
SHOWN = 20  # faults of a file


class UnknownFileError(Exception):
    """A file that is no reference of a known dialect."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare files and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parity", description="Compare our networks with reference numbers of public code."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz", help="reference numbers: plain arrays and a config")
    known = list(adapters())
    return max([_check(path, known) for path in parser.parse_args(arguments).files])


def _check(path: Path, known: Sequence[ModuleType]) -> int:
    try:
        reference, dialect = _read(path, known)
    except UnknownFileError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return UNKNOWN
    result = _compare(reference, dialect, known)
    print(result.line, flush=True)
    for fault in result.faults[:SHOWN]:
        print(f"{path}: {fault}", file=sys.stderr)
    if len(result.faults) > SHOWN:
        print(f"{path}: and {len(result.faults) - SHOWN} more", file=sys.stderr)
    return OK if result.ok else OFF


def _read(path: Path, known: Sequence[ModuleType]) -> tuple[Reference, Dialect]:
    """Read a file and tell its dialect.

    Raises:
        UnknownFileError: it cannot be read, is of no known dialect or has a key that means nothing there.
    """
    try:
        reference = Reference.read(path)
    except Exception as error:  # numpy, zipfile and zlib raise what they like for a file that is none of theirs
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise UnknownFileError(f"cannot be read; expected plain arrays and a config ({reason.splitlines()[0]})") from error
    dialects = [*(dialect_of(adapter) for adapter in known), BASELINE]
    told = [d for d in dialects if isinstance(reference.config, Mapping) and d.system(reference) is not None]
    if not told:
        raise UnknownFileError("of no known dialect; expected for example loss.total among its keys, system and weights in its config")
    if unknown := told[0].unknown(reference):
        raise UnknownFileError(f"unknown key {', '.join(unknown)}")
    if odd := [key for key, array in reference.arrays.items() if array.dtype.kind not in "biuf"]:
        raise UnknownFileError(f"{odd[0]}: expected numbers, found {reference.arrays[odd[0]].dtype}")
    return reference, told[0]


def _compare(reference: Reference, dialect: Dialect, known: Sequence[ModuleType]) -> Comparison:
    """Compare a file with its adapter's numbers; where there are none, everything is missing."""
    system = dialect.system(reference)
    adapter = next((a for a in known if dialect_of(a) is dialect and system == a.SYSTEM), None)
    if adapter is None:
        return _failed(reference, dialect, f"no module of tests.parity has SYSTEM = {system!r}")
    torch.manual_seed(0)
    try:
        return compare(reference, adapter.compute(reference), dialect)
    except Exception as error:  # a file that does not fit its adapter is off, and the next file's turn comes
        place = traceback.extract_tb(error.__traceback__)[-1]
        return _failed(reference, dialect, f"{type(error).__name__}: {' '.join(str(error).split())} ({place.filename}:{place.lineno})")


def _failed(reference: Reference, dialect: Dialect, fault: str) -> Comparison:
    nothing = compare(reference, Found(), dialect)
    return Comparison(nothing.system, nothing.outputs, nothing.losses, nothing.gradients, nothing.passed_over, (fault,))


if __name__ == "__main__":
    sys.exit(main())
