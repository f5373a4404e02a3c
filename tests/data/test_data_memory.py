"""Memory of generating, converting and training from disk, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import json, resource, sys
from dhmd.app import compose
from dhmd.training.train import train
store, run = sys.argv[1:]
cfg = compose(["data=custom", f"data.path={store}", "data.in_memory=false", "data.non_finite=zero", "model=text_only",
               "text_encoder=features", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none", f"run_dir={run}"])
samples = train(cfg).metrics["test"]
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""
TOOL = """
import json, resource, sys
from dhmd.cli import main
assert main(["data", *sys.argv[1:]]) == 0
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def peak(code: str, *arguments: object) -> int:
    """Highest resident memory in bytes."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True, cwd=arguments[-1])
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    small, large = ({"n_train": n, "n_valid": n // 8, "n_test": n // 8} for n in (64, 1840))
    peaks = {}
    for name, sizes in (("small", small), ("large", large)):
        store, run = tmp_path / f"{name}.h5", tmp_path / name
        run.mkdir()
        options = [f"{k}={v}" for k, v in sizes.items()]
        synth = peak(TOOL.replace("*sys.argv[1:]", "*sys.argv[1:-1]"), "synth", "-o", store, "--like", "mosei", *options, tmp_path)
        verify = peak(TOOL.replace("*sys.argv[1:]", "*sys.argv[1:-1]"), "verify", store, tmp_path)
        train = peak(TRAIN.replace("store, run = sys.argv[1:]", "store, run = sys.argv[1:3]"), store, run / "run", tmp_path)
        peaks[name] = {"synth": synth, "verify": verify, "train": train, "size": store.stat().st_size}
    assert peaks["large"]["size"] > 400e6
    growth = {k: peaks["large"][k] - peaks["small"][k] for k in ("synth", "verify", "train")}
    assert growth["synth"] < 500e6  # a block of 1024 clips, not the corpus
    assert growth["verify"] < 120e6  # 512 samples of one modality
    assert growth["train"] < 100e6  # ids, labels and tokens, not features
