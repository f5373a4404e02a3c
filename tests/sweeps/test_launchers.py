"""Every launcher runs a sweep of two jobs and a failing one, and the sweep's folder says so."""

import subprocess
import sys

import pytest

from dhmd.sweeps.folder import State, jobs_of
from tiny_runs import DICTIONARIES, TINY

PLUGINS = {"process": None, "joblib": "hydra_plugins.hydra_joblib_launcher", "slurm_local": "submitit", "ray": "ray"}
AT_ONCE = {"process": ["hydra.launcher.n=2"], "joblib": ["hydra.launcher.n_jobs=2"]}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", PLUGINS)
def test_a_sweep_on(launcher, tmp_path, corpus, monkeypatch):
    if PLUGINS[launcher]:
        pytest.importorskip(PLUGINS[launcher])
    monkeypatch.setenv("DHMD_CACHE", str(corpus))
    options = [*TINY, *DICTIONARIES, "trainer.max_epochs=1", "optimisation.lr=1.0e-3,2.0e-3,1.0e+30"]
    own = [f"launcher={launcher}", "hydra.sweep.dir=sweep", *AT_ONCE.get(launcher, [])]
    command = [sys.executable, "-m", "dhmd.cli", "train", "-m", *options, *own]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 1, done.stderr
    assert "1 of 3 jobs did not finish" in done.stderr
    jobs = jobs_of(tmp_path / "sweep")
    assert [job.state for job in jobs] == [State.FINISHED, State.FINISHED, State.FAILED]
    assert "diverged" in jobs[2].error
