"""Policy of the C library for memory that a training step frees."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # constants of glibc's malloc.h
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: -1, TOP_PAD: 2**26}


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step, if the C library is glibc and the environment sets no policy.

    By default, glibc returns large freed arrays to the system, and every step requests them anew, page by page.

    Returns:
        True if freed memory is kept from now on.
    """
    told = any(name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD") for name in os.environ)
    if told or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) == 1 for option, value in KEPT.items())


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory inside the block, and return free memory to the system once at its end."""
    kept = keep_freed_memory()
    try:
        yield
    finally:
        if kept:
            ctypes.CDLL(None).malloc_trim(0)
