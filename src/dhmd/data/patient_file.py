"""A file for the HDF5 library to write to: it does not learn of a full disk, because it does not survive that."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class PatientFile(io.FileIO):
    """A file that keeps the first error of writing for itself and then only pretends to write; `check` raises it.

    A file that HDF5 cannot close stays half open inside the library, and a later use of the library in the same process crashes.

    Args:
        path: of the file, made anew.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of ``data``, or nothing more for good."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer``; with zeros where nothing could be written."""
        view = memoryview(buffer).cast("B")
        got = super().readinto(view) or 0
        if self.error is not None:
            view[got:] = bytes(len(view) - got)
            return len(view)
        return got

    def truncate(self, size: int | None = None, /) -> int:
        """Set the file's size."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error of writing, if there was one.

        Raises:
            OSError: of writing.
        """
        if self.error is not None:
            raise self.error
