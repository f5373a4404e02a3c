# %% [markdown]
# # 3. From a sweep to a table and figures
#
# One run says little. Here: two configurations over three seeds by one command, the table over seeds with tested
# differences, and a figure of one's own. The data is the embedded corpus, which is **synthetic**, and sizes and seeds
# are few so that it takes a minute: what is shown is the way, not a result. [docs/scaling.md](../docs/scaling.md) has
# named studies and clusters.

# %%
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## The sweep
#
# A sweep is a command: `-m`, and several values for what varies. The same command again skips what is finished and goes
# on with what is not.

# %%
command = """
dhmd train -m model=dmd ablation=full,no_gd seed=1111,1112,1113 hydra.sweep.dir=sweep
    data.synthetic.n_train=128 data.synthetic.n_valid=64 data.synthetic.n_test=160 data.synthetic.length=12
    model.width=12 model.heads=2 model.layers=1
    trainer=cpu trainer.max_epochs=5 optimisation.lr=2.0e-3 optimisation.accumulation.batches=1 logger=none
"""
done = subprocess.run([sys.executable, "-m", "dhmd.cli", *shlex.split(command)[1:]], capture_output=True, text=True)
done.check_returncode()

# %%
from dhmd.sweeps.folder import jobs_of

for job in jobs_of(Path("sweep")):
    print(f"{job.name:36} {job.state.value:9} {job.epochs} epochs, validation loss {job.loss:.3f}")

# %% [markdown]
# `dhmd sweep status sweep` prints this, with times and what went wrong where something did; `dhmd report sweep -o
# report.html` makes one page of it all.
#
# ## The table
#
# `dhmd results sweep` makes it; from Python, `record_of` is what it is made of: plain JSON that can be committed in
# place of the runs.

# %%
from dhmd.results.record import record_of, render

record = record_of([Path("sweep")], metrics=["acc2_non_zero", "mae", "corr"], reference="")
print(render(record))

# %% [markdown]
# Each row with an ablation is compared with the one without (`full`) over the seeds that both have. What the table does
# not show: three seeds and five epochs on synthetic data leave wide intervals, and an interval that contains 0 is no
# proof that an ablation does nothing. `render(record, "latex")` and `"csv"` give the same for a paper and for a
# spreadsheet.
#
# ## A figure of one's own
#
# Runs are read one by one; what a figure needs is in them.

# %%
from dhmd.evaluation.statistics import summarise
from dhmd.runs.reader import read_runs

runs, _ = read_runs([Path("sweep")])
by_ablation: dict[str, dict[int, float]] = {}
for run in runs:
    by_ablation.setdefault(run.metrics["ablation"], {})[run.metrics["seed"]] = run.test["mae"]
for name, found in by_ablation.items():
    print(f"{name:6} MAE by seed:", {seed: round(x, 3) for seed, x in found.items()})

# %%
figure, axes = plt.subplots(figsize=(5, 2.6), layout="constrained")
names = sorted(by_ablation, key=lambda name: name != "full")
for place, name in enumerate(names):
    summary = summarise(list(by_ablation[name].values()))
    axes.plot([place, place], [summary.interval.low, summary.interval.high], color="#0072B2")
    axes.plot(place, summary.mean, "o", color="#0072B2")
for seed in by_ablation["full"]:
    axes.plot(np.arange(len(names)) + 0.12, [by_ablation[name][seed] for name in names], ".-", color="#999999", linewidth=0.7)
axes.set_xticks(range(len(names)), names)
axes.set(ylabel="MAE, test (synthetic data)", title="Blue: mean and 95 % interval over seeds; grey: the seeds")
figure.savefig("mae.svg")

# %% [markdown]
# Test MAE on the synthetic corpus, lower is better. Grey lines join the runs of one seed: where they are parallel,
# seeds differ more than configurations, and the paired differences of the table say more than the overlap of the blue
# intervals. The intervals are over seeds alone; they do not cover other data.
#
# ## Kept for later
#
# The record with the table's numbers, to commit beside a paper; `dhmd results --check` finds a number in a document
# that somebody edited.

# %%
import json

Path("sweep.json").write_text(json.dumps(record, indent=1))
print(*sorted(path.name for path in Path().iterdir()))

# %% [markdown]
# Next: [your own features](04_your_own_features.ipynb).
