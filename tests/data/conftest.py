"""Fixtures of the data tests."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from feature_files import Content, files_below, make_content


@pytest.fixture
def content() -> Content:
    return make_content()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Pickle something to a file alone in a folder of its own."""

    def write(what: Any, name: str = "features.pkl", protocol: int = 4) -> Path:
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(what, protocol=protocol))
        return path

    return write


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes into the user's cache."""
    monkeypatch.setenv("DHMD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """After the test no store and no temporary file is anywhere."""
    yield
    left = [f for f in files_below(tmp_path) if f.endswith((".h5", ".part"))]
    assert left == []
