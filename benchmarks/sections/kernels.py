"""Kernels of a step, each beside the code it replaces."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import BATCH
from benchmarks.clock import MATRIX, interleaved
from benchmarks.settings import Settings
from dhmd.nn.attention import attend
from dhmd.nn.cpu.attention import LN2
from dhmd.nn.cpu.attention_mask import Visibility
from dhmd.nn.cpu.dropout_tables import dropout_mask
from dhmd.nn.encoder import grouped_linear

HEADS, HEAD, FRAMES, ENCODERS, WIDTH = 10, 5, 46, 6, 50
LONG = 500
RATE = 0.3
WARM_UP = 3
Pair = tuple[str, Callable[[], object], str, Callable[[], object]]
TITLE = "Kernels"


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds of both ways of doing the same, by operation."""
    found = []
    for work, (taken, ours, instead, theirs) in _pairs(100 if settings.quick else LONG).items():
        seconds = interleaved({"taken": ours, "instead": theirs}, 4 * settings.repeats, WARM_UP)
        found.append({"work": work, "taken": taken, "instead": instead, "seconds": seconds})
    return {"rows": found}


def tables(found: dict[str, Any]) -> str:
    """Return a row for each kernel."""
    lines = ["| what | taken | | instead of | | times as fast |", "| --- | --- | --- | --- | --- | --- |"]
    for row in found["rows"]:
        taken, instead = (median(row["seconds"][side]) * 1000 for side in ("taken", "instead"))
        lines.append(f"| {row['work']} | {row['taken']} | {taken:.2f} ms | {row['instead']} | {instead:.2f} ms | {instead / taken:.1f} |")
    return "\n".join(lines)


def _pairs(long: int) -> dict[str, Pair]:
    torch.manual_seed(0)
    scores = torch.randn(BATCH * HEADS, FRAMES, FRAMES)
    narrow = torch.randn(BATCH * HEADS, HEAD, FRAMES)
    tall = narrow.mT.contiguous()
    rows = torch.randn(BATCH, FRAMES, ENCODERS, WIDTH)
    weight, bias = torch.randn(ENCODERS, 4 * WIDTH, WIDTH), torch.randn(ENCODERS, 4 * WIDTH)
    each = [x.contiguous() for x in rows.unbind(2)]
    square = torch.randn(MATRIX, MATRIX)
    return {
        "powers of 160 attention maps of 46 x 46": ("of two", lambda: torch.exp2(scores), "of e", lambda: torch.exp(scores)),
        "their dropout masks": (
            "two tables, read from random places",
            lambda: dropout_mask(tuple(scores.shape), RATE, 1),
            "drawn one after the other",
            lambda: torch.rand_like(scores).ge_(RATE),
        ),
        "their products with values 5 wide": (
            "values (5, T)",
            lambda: torch.bmm(narrow, scores.mT),
            "values (T, 5)",
            lambda: torch.bmm(scores, tall),
        ),
        f"a product of matrices {MATRIX} x {MATRIX}": (
            "oneDNN's, as a convolution over single frames",
            lambda: F.conv2d(square.T[None, :, None], square[:, :, None, None]),
            "the one that floors are reckoned by",
            lambda: square @ square,
        ),
        f"six linear layers 50 to 200, {BATCH * FRAMES} frames each": (
            "one grouped convolution over single frames",
            lambda: grouped_linear(rows, weight, bias),
            "one after the other",
            lambda: [F.linear(x, w, b) for x, w, b in zip(each, weight, bias, strict=True)],
        ),
        f"attention over {long} frames, forward and backward, no dropout": (
            "blocks that stay in the cache",
            _ours(long),
            "torch's fused kernel, which has no dropout on a CPU",
            _fused(long),
        ),
    }


def _ours(frames: int) -> Callable[[], object]:
    q, k, v = (torch.randn(1, BATCH, HEADS, HEAD, frames, requires_grad=True) for _ in range(3))
    visibility = Visibility((None,), (None,), (BATCH, frames, frames), causal=False)
    return lambda: _back(attend(q, k, v, visibility, (0.0,)))


def _fused(frames: int) -> Callable[[], object]:
    q, k, v = (torch.randn(BATCH, HEADS, frames, HEAD, requires_grad=True) for _ in range(3))
    return lambda: _back(F.scaled_dot_product_attention(q, k, v, scale=LN2))


def _back(out: Tensor) -> None:
    torch.autograd.backward(out.sum())
