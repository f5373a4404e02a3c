"""What the C library does with memory that a training step gives back."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 2**26}


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step, where the C library is glibc and nothing in the environment says what it is to do.

    By itself glibc hands large arrays back to the system as they are freed, and every step fetches them anew, page by page.

    Returns:
        Whether it does from now on.
    """
    told = any(name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD") for name in os.environ)
    if told or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) == 1 for option, value in KEPT.items())


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, freed memory is kept; at the end, what is free is handed back once."""
    kept = keep_freed_memory()
    try:
        yield
    finally:
        if kept:
            ctypes.CDLL(None).malloc_trim(0)
