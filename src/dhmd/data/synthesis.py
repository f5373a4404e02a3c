"""The embedded corpus as a file of any size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dhmd.data.demo import write_pickle, write_synthetic_store
from dhmd.data.synthetic import SyntheticOptions
from dhmd.errors import DataError, UsageError

SIZES: dict[str, dict[str, Any]] = {
    "demo": {},
    "mosi": {
        "n_train": 1284,
        "n_valid": 229,
        "n_test": 686,
        "length": 50,
        "dims": {"language": 768, "vision": 20, "acoustic": 5},
        "lengths": {"vision": 500, "acoustic": 375},
    },
    "mosei": {
        "n_train": 16326,
        "n_valid": 1871,
        "n_test": 4659,
        "length": 50,
        "dims": {"language": 768, "vision": 35, "acoustic": 74},
        "lengths": {"vision": 500, "acoustic": 500},
    },
}
"""Options that give the sizes of known data sets; ``lengths`` count only where ``aligned`` is false."""


def synthesise(path: Path | str, like: str = "demo", options: Mapping[str, Any] | None = None) -> SyntheticOptions:
    """Write the embedded corpus as a pickle (``.pkl``, ``.pickle``) or a store (``.h5``), a block of clips at a time.

    Args:
        path: of the file; an existing one is replaced when the new one is whole.
        like: one of `SIZES`.
        options: of ``dhmd.data.synthetic.SyntheticOptions``, over those of ``like``.

    Returns:
        The options as used.

    Raises:
        UsageError: the name has another ending, or an option is unknown or out of range.
        DataError: the file cannot be written.
    """
    path = Path(path).expanduser()
    if like not in SIZES:
        raise UsageError(f"like: found {like!r}, expected one of {', '.join(SIZES)}")
    chosen = SyntheticOptions.of({**SIZES[like], **(options or {})})
    writers = {".pkl": write_pickle, ".pickle": write_pickle, ".h5": write_synthetic_store}
    if path.suffix not in writers:
        raise UsageError(f"{path}: found the ending {path.suffix!r}, expected .pkl for a pickle or .h5 for a store")
    try:
        writers[path.suffix](path, chosen)
    except OSError as error:
        raise DataError(
            f"{path}: the generated corpus cannot be written\n  found:      {error}\n"
            "  expected:   a folder that can be written, with room for the features\n  what to do: free some space, or name another folder"
        ) from error
    return chosen
