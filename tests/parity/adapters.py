"""Adapters of the networks: the modules of this package that say of which system they are and compute its numbers."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import tests.parity
from tests.parity.dialect import BASELINE, Dialect


def adapters() -> Iterator[ModuleType]:
    """Yield every module with ``SYSTEM`` (str), ``compute(reference) -> Found`` and, for another than baselines, ``DIALECT``."""
    for info in pkgutil.walk_packages(tests.parity.__path__, f"{tests.parity.__name__}."):
        name = info.name.rpartition(".")[2]
        if name.startswith("test_") or name in ("__main__", "conftest"):
            continue  # tests need pytest, the command does not
        module = import_module(info.name)
        if hasattr(module, "SYSTEM") and hasattr(module, "compute"):
            yield module


def dialect_of(adapter: ModuleType) -> Dialect:
    """Return the dialect of the files that an adapter is for."""
    dialect: Dialect = getattr(adapter, "DIALECT", BASELINE)
    return dialect
