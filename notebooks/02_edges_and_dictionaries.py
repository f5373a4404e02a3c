# %% [markdown]
# # 2. Reading edges and dictionaries
#
# What a trained DHMD recorded of its graph distillation units (the *edges*) and of its dictionaries, and how far it can
# be read. The data is the embedded corpus, which is **synthetic**: its truth is planted and known, and nothing below
# says anything about people. [docs/analysis.md](../docs/analysis.md) lists every table and figure;
# [docs/findings.md](../docs/findings.md) asks these questions over five seeds.

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np

from dhmd.app import compose
from dhmd.runs.reader import read_run
from dhmd.training.train import train

os.chdir(tempfile.mkdtemp())
plt.rcParams["figure.dpi"] = 75

# %% [markdown]
# Two small runs: DHMD as it is, and with edges that are learned without the authors' prior (`ablation=prior_off`).

# %%
small = [
    "data.synthetic.n_train=320",
    "data.synthetic.n_valid=80",
    "data.synthetic.n_test=160",
    "model.width=20",
    "model.heads=4",
    "model.layers=1",
]
small += [f"model.{space}.dictionary.entries=128" for space in ("homogeneous", "heterogeneous")]
small += ["trainer=cpu", "trainer.max_epochs=6", "optimisation.lr=1.0e-3", "optimisation.accumulation.batches=1", "logger=none"]
runs = {}
for ablation in ("full", "prior_off"):
    result = train(compose([*small, f"ablation={ablation}", f"run_dir=runs/{ablation}"]))
    runs[ablation] = read_run(result.run_dir)
    print(f"{ablation:10} synthetic test split: MAE {runs[ablation].test['mae']:.3f}, Corr {runs[ablation].test['corr']:.3f}")

# %% [markdown]
# ## Edges
#
# In each space, a unit weighs for every sample who teaches whom: a weight an edge teacher→student, the weights of a
# sample sum to 1. `record.h5` holds them by sample (test split) and by epoch (validation split).

# %%
records = {name: run.record() for name, run in runs.items()}
for name, record in records.items():
    for space, edges in record.edges.items():
        print(f"{name}, {space} space; weights {edges.weights.shape}")
        for i, (teacher, student) in enumerate(edges.pairs):
            prior = "no prior" if edges.prior is None else f"prior {edges.prior[i]:.3f}"
            print(f"  {teacher:>8} -> {student:8} mean {edges.weights[:, i].mean():.3f}  sd {edges.weights[:, i].std():.3f}  {prior}")

# %%
figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
for (name, record), colour in zip(records.items(), ("#0072B2", "#D55E00"), strict=True):
    edges = record.edges["heterogeneous"]
    weights = edges.weights[:, edges.pairs.index(("language", "acoustic"))]
    axes.hist(weights, bins=np.linspace(0, 0.65, 53), color=colour, alpha=0.7, label=name)
axes.set(xlabel="weight of language → acoustic, heterogeneous space (synthetic data)", ylabel="test samples")
_ = axes.legend(frameon=False)

# %% [markdown]
# One edge over the 160 synthetic test samples: how far its weight differs between samples in either run. It does not
# show what the differences go with; the means by class below do, for the label.

# %%
from dhmd.analysis.edges import edge_graphs, edge_history

edge_graphs(records["full"].edges, "With the prior (synthetic data)")

# %% [markdown]
# Mean learned weights on the synthetic test split as a graph, beside the prior. Where the two look alike, in the
# heterogeneous space more than in the homogeneous, that is no finding about the data: the regulariser pulls the weights
# to the prior.

# %%
edge_graphs(records["prior_off"].edges, "Without the prior (synthetic data)")

# %% [markdown]
# The same without the prior: whatever differs between edges here was learned, or is left from the random beginning,
# which one run cannot tell apart.

# %%
kept = runs["prior_off"].metrics["selection"]["epoch"]
edge_history(
    records["prior_off"].edges, runs["prior_off"].history()["epoch"], "Edge weights by epoch, without the prior (synthetic data)", kept
)

# %% [markdown]
# Mean weights over the validation split by epoch; the dotted line is the epoch kept. It shows whether the weights still
# move; not whether more epochs would have moved them further.
#
# Do edges depend on the sample? The means by class answer for the label:

# %%
from dhmd.analysis.edge_classes import edges_by_class

record = records["prior_off"]
edges_by_class(record.edges["heterogeneous"], record.label, "regression", "Edge weights by class, heterogeneous space (synthetic data)")

# %% [markdown]
# Points are class means, bars one standard deviation over samples (no interval of the mean). A flat panel says that the
# edge does not depend on the class; a slope does not say why.
#
# The corpus was planted with reliabilities language 0.8, acoustic 0.6, vision 0.4. Does the reliable modality teach
# most?

# %%
planted = runs["prior_off"].config["data"]["synthetic"].get("reliability", {"language": 0.8, "vision": 0.4, "acoustic": 0.6})
for name, record in records.items():
    for space, edges in record.edges.items():
        share = {m: sum(edges.weights[:, i].mean() for i, (teacher, _) in enumerate(edges.pairs) if teacher == m) for m in planted}
        print(f"{name:10} {space:14}", "  ".join(f"{m} {share[m]:.2f} (planted {planted[m]})" for m in share))

# %% [markdown]
# Equal shares are 0.33. One seed shows what to look at, not an answer; over five seeds the answer on this corpus [is
# no](../docs/findings.md).
#
# ## Dictionaries
#
# Each space has a dictionary that its modalities share. A sample's *activation* is sparse: entries above 0 are in use.

# %%
from dhmd.analysis.activations import heat_map, usage
from dhmd.analysis.dictionary_tables import dictionary_usage

record = records["full"]
for row in dictionary_usage(record.activations, record.label, "regression"):
    if row["class"] == "all":
        print(
            f"{row['space']:14} {row['modality']:9} {row['ever_active']:3} of {row['entries']} entries ever active, "
            f"{row['active_per_sample']:5.1f} a sample, perplexity {row['perplexity']:.1f}"
        )

# %%
usage(record.activations, record.label, "regression", "Dictionary usage (synthetic data)")

# %% [markdown]
# Left how many distinct entries each class of the synthetic test split uses, right how many a sample uses. Large
# classes use more distinct entries simply because they have more samples.

# %%
heat_map(record.activations["heterogeneous"], record.label, "regression", "Dictionary activations, heterogeneous space (synthetic data)")

# %% [markdown]
# A panel a modality, rows classes, columns the same entries everywhere, sorted by the class that uses them most. Blocks
# are entries of a class; a column dark in all panels is shared by the modalities. Because columns are sorted on these
# very samples, some order shows even in noise.

# %%
from dhmd.analysis.drift import dictionary_drift, drift_lines, epoch_means

kept = runs["full"].metrics["selection"]["epoch"]
drift = dictionary_drift(epoch_means(record.training), runs["full"].history()["epoch"], kept)
drift_lines(drift, "Drift of dictionary use over training (synthetic data)", kept)

# %% [markdown]
# How near each epoch's mean activation on the validation split is to that of the epoch kept (1 there by definition).
# Lines still rising at the dotted line say that the dictionary had not settled; they do not say that settling would
# help.
#
# ## What a linear reader finds
#
# `read_out` is the out-of-fold R² of a ridge regression, clips of a video kept together: how much of the label can be
# read from an embedding.

# %%
from dhmd.analysis.readout import read_out
from dhmd.analysis.representation import videos

groups = videos(record.ids)
shuffled = np.random.default_rng(0).permutation(record.label)
for space, embeddings in record.embeddings.items():
    for modality, x in embeddings.items():
        found, nothing = read_out(x, record.label, groups), read_out(x, shuffled, groups)
        print(f"{space:14} {modality:9} R2 of the label {found:5.2f}, of a shuffled label {nothing:5.2f}")

# %% [markdown]
# In the heterogeneous space cross-modal attention has mixed the modalities before: the label in its *vision* may be
# language's. The shuffled label is what such a reader makes of nothing.
#
# `dhmd analyse RUN` writes all of this, and more, to a folder. Next: [from a sweep to a
# table](03_from_a_sweep_to_a_table.ipynb).
