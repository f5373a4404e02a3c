"""Real pickles, where the optional folder with their compact sources is at hand."""

from __future__ import annotations

import os
import pickle
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhmd.data.module import FeatureDataModule

SOURCES = Path(os.environ.get("DHMD_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"
KEYS = {"language": "text", "vision": "vision", "acoustic": "audio"}

pytestmark = pytest.mark.skipif(
    not (SOURCES / "make_pickles.py").is_file(),
    reason="the compact sources of real pickles are not here (environment variable DHMD_SHARED)",
)


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(SOURCES / "make_pickles.py"))


def ready(content: dict[str, Any], folder: Path, **options: Any) -> FeatureDataModule:
    path = folder / "features.pkl"
    path.write_bytes(pickle.dumps(content, protocol=4))
    module = FeatureDataModule(path=path, **options)
    module.prepare_data()
    module.setup()
    return module


def agrees(module: FeatureDataModule, content: dict[str, Any]) -> None:
    for split, part in content.items():
        n = len(part["id"])
        assert len(module.ids(split)) == n
        rows = list(range(0, n, max(n // 20, 1)))
        batch = module.dataset(split).__getitems__(rows)
        np.testing.assert_array_equal(batch.label, part["regression_labels"][rows])
        for modality, key in KEYS.items():
            np.testing.assert_array_equal(batch.features[modality], part[key][rows])
            if f"{key}_lengths" in part:
                np.testing.assert_array_equal(batch.masks[modality].sum(1), np.array(part[f"{key}_lengths"])[rows])
            else:
                assert not batch.masks[modality][~(part[key][rows] != 0).any(2).cumsum(1).astype(bool)].any()


def test_word_aligned_mmmo(maker: dict[str, Any], tmp_path: Path) -> None:
    content = maker["mmmo"]()
    module = ready(content, tmp_path)
    agrees(module, content)
    assert module.spec.aligned
    assert module.texts("train") is None  # its texts are empty
    scaled = ready(content, tmp_path, standardise=True).dataset("train").__getitems__(range(80))
    for modality in KEYS:
        frames = scaled.features[modality][scaled.masks[modality]]
        assert frames.mean(0).abs().max() < 1e-3
        assert ((frames.std(0) - 1).abs() < 0.01).sum() + (frames.std(0) == 0).sum() == frames.shape[1]


@pytest.mark.slow
@pytest.mark.parametrize(("aligned", "lengths"), [(True, (50, 50)), (False, (30, 40))])
def test_mosi(aligned: bool, lengths: tuple[int, int], maker: dict[str, Any], tmp_path: Path) -> None:
    content = maker["mosi"]("mosi_clean_folds.npz", lengths, aligned)
    module = ready(content, tmp_path, aligned=aligned, tokens_required=True)
    agrees(module, content)
    assert module.description()["samples"] == {"train": 1447, "valid": 265, "test": 487}
    assert module.warnings == []


@pytest.mark.slow
def test_mosi_with_a_constant_vision(maker: dict[str, Any], tmp_path: Path) -> None:
    content = maker["mosi"]("mosi_official_folds.npz", (50, 50), True)
    module = ready(content, tmp_path)
    agrees(module, content)
    assert module.warnings == ["vision is constant: all zero in train, so it can contribute nothing"]
