"""One attention with dropout, forward and backward, by the number of frames: time and memory."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch

from benchmarks.cases import BATCH, Step
from benchmarks.clock import available_gb, interleaved
from benchmarks.peak import peak_of
from benchmarks.plain import encoder as plain
from benchmarks.settings import Settings
from dhmd.nn import attention as suite
from dhmd.nn.cpu.attention_mask import Visibility

WIDTH, HEADS, DROPOUT = 50, 10, 0.3
FRAMES = (50, 125, 250, 500, 1000, 2000)
TENSORS = 6  # approximate number of arrays of (B, heads, T, T) that the explicit form holds at once
TITLE = "Attention by the number of frames"


def prepared(frames: str, side: str) -> Step:
    """Return the work of a process of its own, for `benchmarks.peak`."""
    return _work(int(frames), side)


def measure(settings: Settings) -> dict[str, Any]:
    """Return a row for each number of frames; the plain form is omitted if memory does not suffice."""
    found = []
    for frames in FRAMES[:1] if settings.quick else FRAMES:
        needed = TENSORS * 4 * BATCH * HEADS * frames**2 / 1e9
        sides = ["plain", "suite"] if needed < 0.8 * available_gb() else ["suite"]
        times = interleaved({side: _work(frames, side) for side in sides}, settings.slow_repeats)
        peaks = {side: peak_of(__name__, str(frames), side) for side in (sides[-1:] if settings.quick else sides)}
        memory = {side: peak["peak_gb"] - peak["before_gb"] for side, peak in peaks.items()}
        found.append({"frames": frames, "seconds": times, "memory_gb": memory, "plain_needs_gb": needed})
    return {"rows": found}


def tables(found: dict[str, Any]) -> str:
    """Return the rows of `measure` as markdown."""
    lines = ["| frames | plain | suite | ratio | memory above the start, plain | suite |", "| --- | --- | --- | --- | --- | --- |"]
    for row in found["rows"]:
        seconds = {side: median(times) for side, times in row["seconds"].items()}
        if "plain" in seconds:
            times = f"{seconds['plain']:.3f} s | {seconds['suite']:.3f} s | {seconds['plain'] / seconds['suite']:.1f}"
        else:
            times = f"not run: about {row['plain_needs_gb']:.0f} GB | {seconds['suite']:.3f} s | "
        memory = [f"{row['memory_gb'][side]:.3f} GB" if side in row["memory_gb"] else "" for side in ("plain", "suite")]
        lines.append(f"| {row['frames']} | {times} | {memory[0]} | {memory[1]} |")
    return "\n".join(lines)


def _work(frames: int, side: str) -> Step:
    torch.manual_seed(0)
    head = WIDTH // HEADS
    if side == "plain":
        q, k, v = (torch.randn(BATCH * HEADS, frames, head, requires_grad=True) for _ in range(3))
        mask = plain.future_mask(frames, frames, q.device)
        return lambda: torch.autograd.backward(plain.attend(q, k, v, mask, DROPOUT).sum())
    x, y, z = (torch.randn(1, BATCH, HEADS, head, frames, requires_grad=True) for _ in range(3))
    visibility = Visibility((None,), (None,), (BATCH, frames, frames), causal=True)
    return lambda: torch.autograd.backward(suite.attend(x, y, z, visibility, (DROPOUT,)).sum())
