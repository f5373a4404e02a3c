"""Reading what others have trained."""

from dhmd.interop.dmd import dmd_from_authors

__all__ = ["dmd_from_authors"]
