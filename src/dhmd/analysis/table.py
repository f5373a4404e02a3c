"""Tables as rows of plain values: one csv file each, with one header line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dhmd.files import write_text

Row = dict[str, Any]
ALL = "all"
"""Value of a column ``class`` or ``modality`` that stands for all of them together."""


def write_table(rows: Sequence[Row], path: Path) -> None:
    """Write a csv file atomically, numbers in full precision, None as an empty cell.

    Args:
        rows: one or more rows, all with the keys of the first.
        path: the file.

    Raises:
        OSError: the folder cannot be written.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: str(value) if isinstance(value, np.generic) else value for key, value in row.items()} for row in rows)
    write_text(path, out.getvalue())
