# %% [markdown]
# # 1. From data to a trained model
#
# The shortest way through the suite in Python: look at the data, compose a configuration, train DHMD, read its metrics
# beside a control, and use the trained network. The data is the embedded corpus, which is **synthetic**: no number or
# figure below says anything about people. The sizes are small, so that everything here takes about half a minute;
# [docs/training.md](../docs/training.md) has the whole of it.
#
# Everything is written to a temporary folder.

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## The data
#
# The corpus has the layout of the published feature pickles: a split is a dict of arrays (N samples, T frames, d
# features). A planted latent sequence drives the label, and each modality shows it with a *reliability* of its own.
# `generate` makes in memory what `data=demo` trains on.

# %%
from dhmd.data.synthetic.generator import generate
from dhmd.data.synthetic.options import SyntheticOptions

options = SyntheticOptions(n_train=320, n_valid=80, n_test=160)
corpus = generate(options).content
for split in ("train", "valid", "test"):
    print(split, {key: corpus[split][key].shape for key in ("text", "vision", "audio", "regression_labels")})
print("reliability", dict(options.reliability))
print(repr(corpus["test"]["raw_text"][0]), "label", corpus["test"]["regression_labels"][0])

# %%
figure, axes = plt.subplots(figsize=(5, 2.4), layout="constrained")
axes.hist(corpus["train"]["regression_labels"], bins=np.arange(-3.25, 3.5, 0.5), color="#0072B2", edgecolor="white")
_ = axes.set(xlabel="label (synthetic)", ylabel="training samples")

# %% [markdown]
# Labels of the 320 synthetic training samples, from −3 (negative) to 3 (positive). How labels are spread says which
# metrics are informative; it does not say whether the features predict them.
#
# ## The configuration
#
# `compose` takes what one would type after `dhmd train`: a network, the corpus in the sizes from above, and a short
# training. The defaults are for a GPU and larger data; `experiment=demo` is a size in between.

# %%
from dhmd.app import compose

corpus_sizes = ["data=demo", "data.synthetic.n_train=320", "data.synthetic.n_valid=80", "data.synthetic.n_test=160"]
training = ["trainer=cpu", "trainer.max_epochs=6", "optimisation.lr=1.0e-3", "optimisation.accumulation.batches=1", "logger=none"]
sizes = ["model.width=20", "model.heads=4", "model.layers=1"]
sizes += [f"model.{space}.dictionary.entries=128" for space in ("homogeneous", "heterogeneous")]
cfg = compose(["model=dhmd", *sizes, *corpus_sizes, *training, "run_dir=runs/dhmd"])
print("spaces      ", [key for key in cfg.model if "geneous" in key])
print("dictionary  ", dict(cfg.model.heterogeneous.dictionary))
print("loss weights", {key: value for key, value in cfg.objective.weights.items() if value})

# %% [markdown]
# ## Train
#
# `train` fits, keeps the epoch with the lowest validation loss, and reads the test split once, at the end. What it
# leaves is a run folder.

# %%
from dhmd.training.train import train

result = train(cfg)
print("epoch kept:", result.metrics["selection"]["epoch"])
print(*sorted(path.name for path in result.run_dir.glob("[!.]*")))

# %%
from dhmd.analysis.curves import metric_curves
from dhmd.analysis.figures import run_title
from dhmd.runs.reader import read_run

run = read_run(result.run_dir)
metric_curves(run.history(), f"Validation metrics: {run_title(run)}", result.metrics["selection"]["epoch"])

# %% [markdown]
# Metrics of the 80 synthetic validation samples by epoch; the dotted line is the epoch whose weights were kept. The
# epoch was chosen on these very samples, so its values here are a little too good. For what to report, see the test
# split.
#
# ## The test split, beside a control
#
# `text_only` is a masked mean of the language features and a linear head: read every result against it. It is small, so
# it gets a larger rate and more epochs; a control that was not trained to its end flatters the network. Its epoch is
# chosen on validation, too.

# %%
control = train(
    compose(["model=text_only", *corpus_sizes, *training, "trainer.max_epochs=60", "optimisation.lr=1.0e-2", "run_dir=runs/text_only"])
)
names = {"acc2_non_zero": "ACC2 (non-zero)", "acc7": "ACC7", "mae": "MAE", "corr": "Corr"}
print(f"{'synthetic test split':22}", *(f"{name:>15}" for name in names.values()))
for name, found in (("dhmd", result), ("text_only", control)):
    print(f"{name:22}", *(f"{found.metrics['test'][key]:15.3f}" for key in names))

# %% [markdown]
# The control is ahead: in this synthetic corpus most of the label can be read linearly from the language, and six
# epochs of 320 samples are little for the larger network. Such a line is what the control is for. One seed and 160
# samples tell no small differences; [notebook 3](03_from_a_sweep_to_a_table.ipynb) has seeds and intervals.
#
# What each modality says alone is recorded, too: `predictions.csv` has a column for every unimodal head.

# %%
from dhmd.evaluation.metrics import regression_metrics

columns = {name: np.array(column) for name, column in run.predictions().items()}
test = columns["split"] == "test"
label = columns["label"][test].astype(float)
for name in list(columns)[3:]:
    print(f"{name:24} Corr {regression_metrics(columns[name][test].astype(float), label)['corr']:.3f}")

# %%
figure, axes = plt.subplots(figsize=(3.4, 3.2), layout="constrained")
axes.plot([-3, 3], [-3, 3], color="#999999", linewidth=1)
axes.scatter(label, columns["prediction"][test].astype(float), s=9, color="#D55E00", alpha=0.6, linewidths=0)
_ = axes.set(xlabel="label (synthetic)", ylabel="prediction", aspect="equal")

# %% [markdown]
# A point a synthetic test sample; on the grey line the prediction is right. The cloud shows the size of the errors and
# whether they grow towards the ends of the scale; it does not show what they come from.
#
# ## Use the network
#
# `dhmd.load` needs the run folder alone and takes raw features; the run's standardisation is inside. On the test
# features it gives what training recorded.

# %%
import dhmd

predictor = dhmd.load(result.run_dir)
keys = {"language": "text", "vision": "vision", "acoustic": "audio"}
found = predictor.predict(**{modality: corpus["test"][key] for modality, key in keys.items()})
print("prediction", found.prediction.shape, "| heterogeneous space, who teaches whom:", found.edges["heterogeneous"].names)
recorded = columns["prediction"][test].astype(float)
print("as recorded:", np.allclose(found.prediction[:, 0], recorded, atol=1e-4))

# %% [markdown]
# The same from a shell: `dhmd train experiment=demo`, `dhmd show RUN`, `dhmd predict RUN FILE -o predictions.csv`.
# Next: [what the edges and dictionaries did](02_edges_and_dictionaries.ipynb).
