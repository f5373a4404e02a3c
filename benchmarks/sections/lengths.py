"""Presets with masks on unaligned sequences whose mean length is 40 % of the longest: padding is not computed."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import cases
from benchmarks.cases import AUTHORS, BATCH, DIMS, MODALITY
from benchmarks.clock import interleaved, matrix_product
from benchmarks.sections import steps
from benchmarks.settings import Settings
from dhmd.batch import FeatureBatch

WANTED = 10
BATCHES = 8
PRESETS = ("dmd", "dhmd")
TITLE = "Real lengths"


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds of a training step by preset, mean over batches, beside the plain implementation, which computes padding."""
    case = steps.case("unaligned", settings.quick)
    data = corpus(case.lengths, 2 if settings.quick else BATCHES)
    x, label = cases.features(case)
    work = {"plain": cases.plain_training(cases.plain_system(case, AUTHORS), x, label), "matrix": matrix_product()}
    for name in PRESETS:
        network, objective = cases.preset(name, case.lengths)
        work[name] = cases.suite_training(network, objective, data)
    times = interleaved(work, settings.slow_repeats)
    share = float(np.mean([float(mask.float().mean()) for batch in data for mask in batch.masks.values()]))
    seconds = {name: [t / len(data) if name in PRESETS else t for t in each] for name, each in times.items()}
    return {
        "frames": case.frames,
        "real_share": share,
        "batches": len(data),
        "seconds": seconds,
        "plausible": None if settings.quick else steps.plausible(case, "training step", seconds),
    }


def corpus(lengths: dict[str, int] | Any, batches: int, seed: int = 0) -> list[FeatureBatch]:
    """Return random samples, padded on the right; one draw of Beta(2, 3) a sample, mean 0.4, gives its length in every modality."""
    random = np.random.default_rng(seed)
    found = []
    for share in random.beta(2, 3, size=(batches, BATCH)):
        features, masks = {}, {}
        for letter, longest in lengths.items():
            m, real = MODALITY[letter], np.maximum(1, np.rint(share * longest)).astype(int)
            masks[m] = torch.from_numpy(np.arange(longest) < real[:, None])
            values = random.standard_normal((BATCH, longest, DIMS[letter]), dtype=np.float32)
            features[m] = torch.from_numpy(values) * masks[m].unsqueeze(-1)
        found.append(FeatureBatch(features, masks, torch.from_numpy(random.integers(-15, 16, BATCH) / 5).float()))
    return found


def tables(found: dict[str, Any]) -> str:
    """Return a row for each preset."""
    times, claim = found["seconds"], found["plausible"]
    lines = [
        f"Frames {found['frames']} at most, {found['real_share']:.0%} of them real, {found['batches']} batches; "
        f"the plain implementation of DMD computes the padding, too: {median(times['plain']):.2f} s a training step.",
        "",
        "| preset | a training step | **ratio** | wanted |",
        "| --- | --- | --- | --- |",
        *(f"| `model={name}` | {median(times[name]):.3f} s | **{steps.ratio(times, name, claim)}** | {WANTED} |" for name in PRESETS),
    ]
    return "\n".join(lines if claim is None else [*lines, "", claim["sentence"]])
