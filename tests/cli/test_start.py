"""Modules that a command or an import loads: seconds of waiting are imports."""

import os
import subprocess
import sys

import pytest

from dhmd.cli import busy_cores, main
from tiny_runs import DICTIONARIES, TINY

HEAVY = ("pytorch_lightning", "transformers", "torchmetrics", "matplotlib", "sklearn", "wandb", "h5py", "hydra")
FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from dhmd.cli import main

def after_step(*_):
    print("loaded", *sys.modules, flush=True)
    os._exit(0)

register_optimizer_step_post_hook(after_step)
main(["train", *sys.argv[1:]])
"""


def loaded_by(code, *arguments):
    """Names of the modules that are loaded when the code prints them, in a process of its own."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("loaded ")]
    assert lines, done.stdout + done.stderr
    return set(lines[-1].split())


@pytest.mark.parametrize(
    "names", ["dhmd.__version__", "dhmd.FeatureBatch, dhmd.FeatureSpec", "dhmd.models.TextOnly, dhmd.losses, dhmd.interop"]
)
def test_networks_need_torch_alone(names):
    assert not set(HEAVY) & loaded_by(f"import sys, dhmd; {names}; print('loaded', *sys.modules)")


@pytest.mark.slow
def test_what_the_end_of_a_training_needs_is_loaded_at_its_end(corpus, tmp_path):
    sizes = [*(x for x in TINY if not x.startswith("logger=")), *DICTIONARIES]
    loaded = loaded_by(FIRST_STEP, *sizes, f"data.cache_dir={corpus}", f"hydra.run.dir={tmp_path / 'run'}")
    assert "wandb" in loaded
    assert not {"sklearn", "wandb.sdk.launch", "dhmd.report", "dhmd.analyse", "dhmd.probe"} & loaded


@pytest.mark.parametrize(("busy", "policy"), [(0, None), (10_000, "PASSIVE")])
def test_threads_sleep_where_others_need_the_cores(busy, policy, monkeypatch, capsys):
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is taken away again
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr("dhmd.cli.busy_cores", lambda: busy)
    assert main(["show", "nowhere"]) != 0
    assert os.environ.get("OMP_WAIT_POLICY") == policy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_busy_cores_are_those_of_others():
    assert 0 <= busy_cores() < 10_000
