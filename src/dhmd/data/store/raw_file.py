"""Arrays read from byte offsets of a file that each process opens for itself."""

from __future__ import annotations

import io
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class RawFile:
    """A file that can be passed to worker processes; each process opens it anew.

    Attributes:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, io.FileIO] | None = None  # file objects by process id

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def opened(self) -> io.FileIO:
        """Return the file as opened by this process; it is closed with this object."""
        if self._opened is None or self._opened[0] != os.getpid():
            file = self.path.open("rb", buffering=0)
            weakref.finalize(self, file.close)
            self._opened = os.getpid(), file
        return self._opened[1]

    def fill(self, x: npt.NDArray[np.float32], offset: int) -> bool:
        """Read the bytes of ``x``, of any shape, from the byte at ``offset`` on; return False if the file ends too early."""
        file = self.opened()
        file.seek(offset)
        view, got = memoryview(x.data).cast("B"), 0
        while got < len(view):
            more = file.readinto(view[got:])
            if not more:
                return False
            got += more
        return True
