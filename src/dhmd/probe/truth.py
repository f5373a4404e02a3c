"""Planted truth of the embedded corpus in the clips of its test split, as targets for a linear probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dhmd.batch import Task
from dhmd.data.checks import synthetic_options
from dhmd.data.synthetic.generator import VALENCE, SyntheticOptions, Truth, generate
from dhmd.errors import RunError
from dhmd.runs.reader import Run

Array = NDArray[Any]
WEAK_SHARE = 1e-9  # closer reliabilities count as equal


@dataclass(frozen=True)
class Planted:
    """Planted truth of the N clips of a test split.

    Attributes:
        ids: ids of the clips, in order.
        label: (N,) label as in a pickle of the corpus.
        shared: (N, 8) mean of the shared latent sequence over the clip's words.
        private: per modality (N, 3), mean of its private factors over the clip's words.
        valence: (N,) the label before rounding.
        composition: (N, tokens) share of each planted token among the clip's tokens; rows sum to 1.
    """

    ids: tuple[str, ...]
    label: Array
    shared: Array
    private: Mapping[str, Array]
    valence: Array
    composition: Array

    @property
    def videos(self) -> Array:
        """(N,) video of each clip; clips of a video share the style of their private factors."""
        return np.array([name.split("$_$")[0] for name in self.ids])

    def targets(self, modality: str) -> dict[str, Array]:
        """Return the targets that a probe may read from a modality's features: (N,) or (N, P) by name."""
        return {"shared": self.shared, "valence": self.valence, "private": self.private[modality]}


def options_of(run: Run) -> SyntheticOptions:
    """Return the options of the corpus that a run was trained on.

    Raises:
        RunError: the run was trained on other data.
    """
    data = run.config.get("data") or {}
    resplit = data.get("folds") is not None or data.get("test_groups") is not None
    if not data.get("synthetic") or data.get("path") is not None or resplit:
        found = f"data.path={data['path']}" if data.get("path") is not None else "folds or test_groups" if resplit else "no data.synthetic"
        raise RunError(
            f"{run.path}: not trained on the embedded corpus, whose planted truth a probe needs\n  found:      {found}\n"
            "  expected:   data.synthetic in config.yaml, its own splits\n"
            "  what to do: train with `dhmd train experiment=probe`, or give such runs alone"
        )
    options = synthetic_options(data["synthetic"], task_of(run))
    assert options is not None  # noqa: S101 - there are some, or the error above
    return options


def task_of(run: Run) -> Task:
    """Return the task of a run's labels."""
    task: Task = run.metrics["task"]
    return task


def plant(options: SyntheticOptions, task: Task = "regression") -> Planted:
    """Generate the corpus again and return the planted truth of its test split."""
    made = generate(options)
    test, truth = made.content["test"], made.truth["test"]
    label = test["regression_labels"] if task == "regression" else test["classification_labels"]
    return Planted(
        ids=tuple(test["id"]),
        label=np.asarray(label),
        shared=clip_mean(truth.shared, truth.words),
        private={m: clip_mean(x, truth.words) for m, x in truth.private.items()},
        valence=truth.valence,
        composition=composition(truth),
    )


def check_same(run: Run, planted: Planted) -> None:
    """Check that the run's test split equals the generated one.

    Raises:
        RunError: its clips or labels differ.
    """
    record = run.record()
    if record.ids != planted.ids or not np.allclose(record.label, planted.label):
        raise RunError(
            f"{run.path}: its test split is not the one this version generates from its data.synthetic; train the run again with it"
        )


def clip_mean(values: Array, words: Array) -> Array:
    """Return the mean over each clip's words of (N, T, P), which is zero beyond them: (N, P)."""
    mean: Array = values.sum(axis=1) / words[:, None]
    return mean


def composition(truth: Truth) -> Array:
    """Return the share of each planted token among a clip's tokens: (N, tokens)."""
    counts = (truth.tokens[..., None] == np.arange(len(VALENCE))).sum(axis=1)
    share: Array = counts / counts.sum(axis=1, keepdims=True)
    return share


def weak(reliability: Mapping[str, float]) -> list[str]:
    """Return the modalities below the largest reliability; none if all are equal."""
    best = max(reliability.values())
    return [m for m, r in reliability.items() if r < best - WEAK_SHARE]
