"""Training and evaluation steps on a GPU, in single precision and in bf16."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch

from benchmarks.cases import CASES, Step
from benchmarks.clock import gflops, matrix_product, on_gpu
from benchmarks.sections.steps import KINDS, case, one
from benchmarks.settings import Settings

PRECISIONS = ("32-true", "bf16-mixed")
TITLE = "One step on a GPU"


def missing() -> str:
    """Return the reason why this cannot be measured here; empty if it can."""
    return "" if torch.cuda.is_available() else "there is no GPU"


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds by the GPU's own events and memory, by case, work and precision."""
    rows = [_measured(name, work, dropout, p, settings) for name in CASES for work, dropout in KINDS[::2] for p in PRECISIONS]
    return {"rows": rows}


def tables(found: dict[str, Any]) -> str:
    """Return the rows of `measure` as markdown."""
    lines = ["| | precision | plain | suite | **ratio** | memory of a step, plain | suite |", "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row['work']}, {row['case']} | {row['precision']} | {row['plain_s'] * 1000:.1f} ms | {row['suite_s'] * 1000:.1f} ms "
        f"| **{row['plain_s'] / row['suite_s']:.1f}** | {row['memory']['plain']:.2f} GB | {row['memory']['suite']:.2f} GB |"
        for row in found["rows"]
    ]
    return "\n".join(lines)


def _measured(name: str, work: str, dropout: str, precision: str, settings: Settings) -> dict[str, Any]:
    problem = case(name, settings.quick)
    sides = {side: _in(precision, one(problem, side, work, dropout, "cuda")) for side in ("plain", "suite")}
    times = on_gpu({**sides, "matrix": matrix_product("cuda")}, settings.repeats)
    return {
        "case": name,
        "work": work,
        "dropout": dropout,
        "precision": precision,
        "frames": problem.frames,
        "plain_s": median(times["plain"]),
        "suite_s": median(times["suite"]),
        "seconds": times,
        "matrix_gflops": gflops(times["matrix"]),
        "memory": {side: _memory(step) for side, step in sides.items()},
    }


def _in(precision: str, step: Step) -> Step:
    def run() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16-mixed"):
            step()

    return run


def _memory(step: Step) -> float:
    """Return the memory of a step beyond weights and the optimizer's state; GB."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e9
