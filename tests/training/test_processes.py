"""Two processes that train together write one record, of the whole splits."""

import csv
import subprocess
import sys

import pytest

from tiny_runs import DICTIONARIES, TINY


@pytest.mark.slow
def test_ddp_on_two_cpu_processes(corpus, tmp_path):
    options = [*TINY, *DICTIONARIES, f"data.cache_dir={corpus}", "data.synthetic.n_valid=9", "trainer=ddp", "trainer.accelerator=cpu"]
    command = [sys.executable, "-m", "dhmd.cli", "train", *options, "trainer.devices=2", "hydra.run.dir=run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("dhmd on demo (synthetic data)") == 1
    with (tmp_path / "run" / "predictions.csv").open() as file:
        splits = [row["split"] for row in csv.DictReader(file)]
    assert (splits.count("valid"), splits.count("test")) == (9, 10)
    assert (tmp_path / "run" / "DONE").exists()
    assert len((tmp_path / "run" / "command.txt").read_text().splitlines()) == 1
