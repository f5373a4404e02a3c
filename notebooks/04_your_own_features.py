# %% [markdown]
# # 4. Your own features
#
# From arrays to predictions: a folder of npy files with one csv, a look at it, a training, its control, predictions for
# new samples, and what the network looked at. The arrays are random numbers with a planted rule, so the data is
# **synthetic**; the steps are those for real features. [docs/start.md](../docs/start.md) does the same from a shell,
# [docs/data.md](../docs/data.md) lists every layout.

# %%
import csv
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## A folder of arrays
#
# One npy file a modality, (N samples, T frames, d features), rows in the order of the csv. Modalities may have any
# names and differ in T and d; here is a fourth, `gaze`. Features are raw: the run standardises them. Frames of zeros at
# the end are padding; where zeros mean something, `NAME_lengths.npy` says how many frames are real.
#
# The rule planted here: language and gaze follow the label, vision a little, and acoustic not at all; every clip has
# noise of its own, which no frame is free of.

# %%
rng = np.random.default_rng(0)
n, frames = 360, 12
label = rng.uniform(-3, 3, n).round(1)
strength = {"language": (24, 0.15), "vision": (8, 0.15), "acoustic": (6, 0.0), "gaze": (4, 0.4)}
direction = {name: rng.normal(size=width) for name, (width, _) in strength.items()}


def features(label: np.ndarray) -> dict[str, np.ndarray]:
    """Synthetic features of samples with these labels, by modality (N, T, d)."""
    found = {}
    for name, (width, weight) in strength.items():
        clip = weight * label[:, None] * direction[name] + rng.normal(size=(len(label), width))
        found[name] = (clip[:, None] + rng.normal(size=(len(label), frames, width))).astype(np.float32)
    return found


own = Path("own")
own.mkdir()
for name, x in features(label).items():
    np.save(own / f"{name}.npy", x)
with (own / "samples.csv").open("w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["id", "split", "label", "speaker"])
    for i in range(n):
        rows.writerow([f"video{i // 4}$_${i % 4}", "train" if i < 240 else "valid" if i < 300 else "test", label[i], f"speaker{i // 12}"])

# %% [markdown]
# ## Look before training
#
# `dhmd data inspect own` in a shell; from Python:

# %%
from dhmd.data.cli import as_text
from dhmd.data.tools.inspection import inspect_file

print(as_text(inspect_file(own)))

# %% [markdown]
# Worth reading line by line with real data: the range of the labels, real frames, NaN, constant features. The ids name
# videos (`video$_$clip`), and no video is in two splits; `data.group_by=speaker data.folds=5` would keep speakers
# together instead.
#
# ## Train, with a control

# %%
from dhmd.app import compose
from dhmd.training.train import train

data = ["data=custom", "data.path=own"]
training = ["trainer=cpu", "optimisation.accumulation.batches=1", "logger=none"]
sizes = ["model.width=16", "model.heads=4", "model.layers=1"]
sizes += [f"model.{space}.dictionary.entries=64" for space in ("homogeneous", "heterogeneous")]
result = train(compose(["model=dhmd", *data, *sizes, *training, "trainer.max_epochs=6", "optimisation.lr=1.0e-3", "run_dir=runs/own"]))
control = train(compose(["model=text_only", *data, *training, "trainer.max_epochs=60", "optimisation.lr=1.0e-2", "run_dir=runs/text_only"]))
for name, found in (("dhmd", result), ("text_only", control)):
    test = found.metrics["test"]
    print(f"{name:10} synthetic test split: MAE {test['mae']:.3f}, Corr {test['corr']:.3f}")

# %% [markdown]
# `text_only` reads the language alone, through a mean and a linear head. A network that is not better than that has not
# used the other modalities, or there is nothing in them. Sixty synthetic test samples and one seed decide nothing here;
# [notebook 3](03_from_a_sweep_to_a_table.ipynb) has seeds.
#
# ## Predict
#
# New samples need neither labels nor csv. `dhmd predict runs/own FOLDER -o predictions.csv` does it for a folder; from
# Python arrays are enough.

# %%
import dhmd

predictor = dhmd.load("runs/own")
steps = np.linspace(-3, 3, 13)
truth = np.repeat(steps, 40)  # forty clips a step
found = predictor.predict(**features(truth))


def by_step(x: np.ndarray) -> np.ndarray:
    """Mean over the clips of a step: (N, 1) to (13,)."""
    return x.reshape(len(steps), -1).mean(axis=1)


print("planted  ", steps[::3])
print("predicted", by_step(found.prediction)[::3].round(2))

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
for axes, (space, heads) in zip(panels, found.unimodal.items(), strict=True):
    for colour, (name, x) in zip(("#0072B2", "#D55E00", "#009E73", "#CC79A7"), heads.items(), strict=True):
        axes.plot(steps, by_step(x), color=colour, label=name, linewidth=1.2)
    axes.plot(steps, by_step(found.prediction), color="black", linewidth=1.8, label="fused")
    axes.set(title=f"{space} heads", xlabel="planted label (synthetic)")
panels[0].set_ylabel("prediction")
_ = panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# What each modality says alone, in either space: means over 40 new synthetic clips a step. In the homogeneous space the
# line of *acoustic* is flat, as nothing was planted in it; in the heterogeneous space cross-modal attention has mixed the
# modalities, and a rising line there does not mean that this modality holds the label. Means hide how far single clips
# are off.
#
# ## What the network looked at

# %%
for space, edges in found.edges.items():
    received = {
        m: sum(edges.weights[:, i].mean() for i, (teacher, _) in enumerate(edges.pairs) if teacher == m) for m in predictor.modalities
    }
    print(f"{space:14} share of teaching:", "  ".join(f"{m} {x:.2f}" for m, x in received.items()))
used = found.active["heterogeneous"]["gaze"]
print("entries of the heterogeneous dictionary that gaze uses in the first sample, the most used first:", used[0][:5].tolist())

# %% [markdown]
# Shares of teaching by teacher, means over the new synthetic samples; equal ones are 0.25. They say what the
# distillation weighed, not what a prediction depends on. [Notebook 2](02_edges_and_dictionaries.ipynb) reads edges and
# dictionaries more closely.
#
# ## What does not fit is refused

# %%
from dhmd.errors import DataError

wrong = {**features(truth), "vision": np.zeros((len(truth), frames, 5))}
try:
    predictor.predict(**wrong)
except DataError as error:
    print(error)
