"""Interoperability: reading checkpoints of others, and exporting networks."""

from dhmd.interop.dmd import dmd_from_authors

__all__ = ["dmd_from_authors"]
