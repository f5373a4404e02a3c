"""Profile of a training step: time by kind of kernel, and rate of its products; with one thread, for which times add up."""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.cases import CASES
from benchmarks.clock import gflops, interleaved, matrix_product, operations
from benchmarks.sections import steps
from benchmarks.settings import Settings

LINEAR, ATTENTION = "linear layers, as convolutions", "attention's products"
KINDS = {
    LINEAR: ("convolution", "mkldnn_convolution", "convolution_backward"),
    ATTENTION: ("bmm",),
    "other products": ("mm", "addmm"),
    "norms": ("native_layer_norm", "native_layer_norm_backward"),
    "copies": ("copy_", "cat", "clone", "index", "gather"),
    "Adam": ("_fused_adam_",),
}
"""Kernels by kind, without their ``aten``; other kernels are `ARITHMETIC`, and everything that is no kernel is `AROUND`."""
ARITHMETIC = "powers, sums, masks, other arithmetic"
AROUND = "Python, autograd, the profiler"
REPEATS = 5
TITLE = "Profile"


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds of a step by kind of kernel and its GFLOP, for each case, at the authors' dropouts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rate = gflops(interleaved({"matrix": matrix_product()}, settings.repeats)["matrix"])
        return {"matrix_gflops": rate, "cases": {name: _profiled(name, settings) for name in CASES}}
    finally:
        torch.set_num_threads(threads)


def tables(found: dict[str, Any]) -> str:
    """Return a row for each kind, with a column for each case."""
    cases = found["cases"]
    head = " | ".join(f"{name}: share | GFLOP | GFLOP/s" for name in cases)
    lines = [f"| a training step, one thread | {head} |", f"| --- |{' --- |' * 3 * len(cases)}"]
    for kind in (*KINDS, ARITHMETIC, AROUND):
        cells = []
        for case in cases.values():
            seconds, work = case["seconds"][kind], case["gflop"].get(kind, 0.0)
            share = seconds / sum(case["seconds"].values())
            cells.append(f"{share:.0%} | {work:.1f} | {work / seconds:.0f}" if work else f"{share:.0%} | | ")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"A product of two 2048 x 2048 matrices, one thread: {found['matrix_gflops']:.0f} GFLOP/s."])


def _profiled(name: str, settings: Settings) -> dict[str, dict[str, float]]:
    step = steps.one(steps.case(name, settings.quick), "suite", "training step", "the authors'")
    counted = operations(step)  # also warms up
    gflop = {
        LINEAR: 3 * counted["aten.convolution"],  # torch's count of its gradients, twice that much, leaves out the groups
        ATTENTION: counted["aten.bmm"],
    }
    repeats = 1 if settings.quick else REPEATS
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(repeats):
            step()
    seconds = dict.fromkeys((*KINDS, ARITHMETIC, AROUND), 0.0)
    for event in recorded.key_averages():
        seconds[_kind(event.key)] += event.self_cpu_time_total / 1e6 / repeats
    return {"seconds": seconds, "gflop": gflop}


def _kind(key: str) -> str:
    if not key.startswith("aten::"):
        return AROUND
    return next((kind for kind, kernels in KINDS.items() if key.removeprefix("aten::") in kernels), ARITHMETIC)
