"""Numbers of one run: the planted truth that its network shows, beside the network before training.

Each number has a path: ``readability/TARGET/SOURCE/MODALITY``, ``content/...`` likewise, ``oracle/TARGET``,
``edges/SPACE/TEACHER->STUDENT`` and ``prior/...`` likewise, ``heads/SPACE/MODALITY/METRIC``,
``activations/TARGET/SOURCE/SPACE/MODALITY``, ``entries/WHAT/SPACE/MODALITY``, ``stages/METRIC``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dhmd.analysis.readout import explained, read_each
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.config import instantiate
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.evaluation.metrics import metrics_for
from dhmd.nn.temporal import masked_mean
from dhmd.probe.truth import Planted, check_same, task_of
from dhmd.results.summary import entry_of
from dhmd.runs.identity import flattened
from dhmd.runs.reader import Run
from dhmd.training.build import build_module, whole_split
from dhmd.training.load import load_run
from dhmd.training.warnings_filter import quiet

Array = NDArray[Any]
Summaries = dict[tuple[str, str, str], Array]
"""(kind, space, modality) to (N, F); kind is ``part``, ``pooled`` or ``activations``."""

KINDS = {"decoupled": "part", "embeddings": "pooled", "activations": "activations"}
"""Kinds of arrays that are read, and their names in the record."""

METRICS = ("acc2_non_zero", "acc2", "accuracy", "f1_macro", "mae", "corr")
"""Metrics that are recorded, if the task has them."""
BATCH = 256  # in evaluation mode, a clip's outputs do not depend on the others of its batch
DIGITS = 6  # digits of every number, so that results shown directly and from a record agree


@dataclass(frozen=True)
class Measured:
    """Numbers of one run; every field is plain JSON.

    Attributes:
        run: the last two names of its folder.
        model: network preset.
        ablation: preset, "" without one.
        seed: seed of the run.
        data: name of the data set.
        corpus: SHA-256 of the corpus options, the task and the modalities read: runs that share it have the same test clips.
        reliability: planted reliability of each modality that the run reads.
        configuration: SHA-256 of the resolved configuration without seed, paths and machine.
        metrics_sha256: SHA-256 of the run's metrics.json.
        values: numbers by path.
    """

    run: str
    model: str
    ablation: str
    seed: int
    data: str
    corpus: str
    reliability: Mapping[str, float]
    configuration: str
    metrics_sha256: str
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        """Sort the numbers in the order of the record, so that tables from runs and from the record agree."""
        object.__setattr__(self, "values", flattened(nested(self.values), "/"))


def nested(values: Mapping[str, float]) -> dict[str, Any]:
    """Return numbers by path as nested objects."""
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *parents, leaf = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def measure(run: Run, options: SyntheticOptions, planted: Planted) -> Measured:
    """Return all numbers of one finished run.

    Args:
        run: a run on the corpus of ``options``.
        options: options of the corpus.
        planted: planted truth of its test split.

    Raises:
        RunError: the run has no checkpoint, or its test split differs from ``planted``.
        DataError: the corpus cannot be written to the cache.
    """
    check_same(run, planted)
    loaded = load_run(run.path)
    loaded.data.batch_size = BATCH
    names = loaded.data.store.modalities  # some of the corpus's modalities, if data.modalities selects
    planted = replace(planted, private={m: planted.private[m] for m in names})
    trained = summaries(loaded.network, whole_split(loaded.data, "test"))
    before = summaries(untrained(loaded.config, loaded.module.spec), whole_split(loaded.data, "test"))
    raw = {} if getattr(loaded.network.text_encoder, "needs_tokens", False) else feature_means(whole_split(loaded.data, "test"))
    entry, task = entry_of(run), task_of(run)
    values = {
        **_readability(trained, before, raw, planted),
        **_edges(run),
        **_heads(run, planted.private),
        **_activations(trained, before, raw, planted),
        **{f"stages/{key}": run.test[key] for key in METRICS if key in run.test},
    }
    corpus = json.dumps({"task": task, "read": names, **asdict(options)}, sort_keys=True, default=dict)
    return Measured(
        run=entry.run,
        model=entry.model,
        ablation="" if entry.ablation == "full" else entry.ablation,
        seed=entry.seed,
        data=entry.data,
        corpus=hashlib.sha256(corpus.encode()).hexdigest(),
        reliability={m: options.reliability[m] for m in names},
        configuration=entry.configuration,
        metrics_sha256=entry.metrics_sha256,
        values={path: round(float(value), DIGITS) for path, value in values.items()},
    )


def untrained(config: Mapping[str, Any], spec: FeatureSpec) -> nn.Module:
    """Return the network of a run as it was before its first step: the same seed draws the same weights."""
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(config["seed"])
        network: nn.Module = build_module(config, instantiate(config["text_encoder"], "text_encoder"), spec).network
    return network.eval()


def summaries(network: nn.Module, batches: Iterable[FeatureBatch]) -> Summaries:
    """Return one row a clip of a network's arrays of each modality, in evaluation mode.

    ``part`` is the mean over the real frames of c_m (homogeneous) and s_m (heterogeneous), both of width d; ``pooled`` is the feature
    that enters fusion; ``activations`` are those of the dictionary. Arrays that a network does not have are absent.
    """
    parts: dict[tuple[str, str, str], list[Tensor]] = {}
    with torch.no_grad():
        for batch in batches:
            for name, x in network(batch).arrays().items():
                kind, *path = name.split("/")
                if kind in KINDS and len(path) == 2:
                    parts.setdefault((KINDS[kind], path[0], path[1]), []).append(x)
    return {key: torch.cat(values).numpy() for key, values in parts.items()}


def feature_means(batches: Iterable[FeatureBatch]) -> dict[str, Array]:
    """Return the mean over the real frames of each modality's features as networks read them: (N, d_m)."""
    parts: dict[str, list[Tensor]] = {}
    for batch in batches:
        for m, x in batch.features.items():
            parts.setdefault(m, []).append(masked_mean(x, batch.masks[m]))
    return {m: torch.cat(values).numpy() for m, values in parts.items()}


def _readability(trained: Summaries, before: Summaries, raw: Mapping[str, Array], planted: Planted) -> dict[str, float]:
    sources = {("features", m): x for m, x in raw.items()}
    for found, prefix in ((trained, ""), (before, "untrained ")):
        sources |= {(f"{prefix}{kind} {space}", m): x for (kind, space, m), x in found.items() if kind != "activations"}
    values: dict[str, float] = {}
    for (source, m), x in sources.items():
        targets = planted.targets(m)
        values |= {f"readability/{name}/{source}/{m}": r2 for name, r2 in read_each(x, targets, planted.videos).items()}
        values |= {f"content/{name}/{source}/{m}": explained(targets[name], x, planted.videos) for name in ("shared", "private")}
    return values


def _edges(run: Run) -> dict[str, float]:
    values: dict[str, float] = {}
    for space, edges in run.record().edges.items():
        if edges.weights is None:
            continue
        values |= {f"edges/{space}/{name}": w for name, w in zip(edges.names, edges.weights.mean(axis=0), strict=True)}
        if edges.prior is not None:
            values |= {f"prior/{space}/{name}": p for name, p in zip(edges.names, edges.prior, strict=True)}
    return values


def _heads(run: Run, modalities: Iterable[str]) -> dict[str, float]:
    columns = run.predictions()
    rows = [i for i, split in enumerate(columns["split"]) if split == "test"]
    label = np.array([float(columns["label"][i]) for i in rows])
    score = metrics_for(task_of(run), run.metrics.get("convention") or "mosi")
    values: dict[str, float] = {}
    for space, m, head in _head_columns(columns, modalities):
        found = score(np.array([[float(column[i]) for column in head] for i in rows]), label)
        values |= {f"heads/{space}/{m}/{key}": found[key] for key in METRICS if key in found}
    return values


def _head_columns(columns: Mapping[str, list[str]], modalities: Iterable[str]) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Yield space (``unimodal`` for a head without one), modality and columns, one or one a class, of each unimodal head."""
    for m in modalities:
        named = [(re.fullmatch(rf"(\w+)_{re.escape(m)}(?:_\d+)?", name), column) for name, column in columns.items()]
        for space in dict.fromkeys(match[1] for match, _ in named if match):
            yield space, m, [column for match, column in named if match and match[1] == space]


def _activations(trained: Summaries, before: Summaries, raw: Mapping[str, Array], planted: Planted) -> dict[str, float]:
    targets = {"composition": planted.composition, "valence": planted.valence}
    values = {f"oracle/{target}": r2 for target, r2 in read_each(planted.shared, targets, planted.videos).items()}
    for (kind, space, m), a in trained.items():
        if kind != "activations":
            continue
        sources = {"activations": a, "untrained activations": before[kind, space, m], "pooled features": trained["pooled", space, m]}
        sources |= {"features": raw[m]} if m in raw else {}
        for source, x in sources.items():
            found = read_each(x, targets, planted.videos)
            values |= {f"activations/{target}/{source}/{space}/{m}": r2 for target, r2 in found.items()}
        active = a > 0
        values[f"entries/used/{space}/{m}"] = int(active.any(axis=0).sum())
        values[f"entries/active/{space}/{m}"] = active.sum(axis=1).mean()
        values[f"entries/all/{space}/{m}"] = a.shape[1]
    return values
