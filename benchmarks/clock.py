"""Measurement of time, memory and speed of the machine."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from dhmd.runs.environment import environment

MATRIX = 2048
THREADS = 2


def use_threads() -> None:
    """Use two threads, as for all numbers; call this before anything is computed."""
    torch.set_num_threads(THREADS)


def interleaved(functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Return seconds of every call: one of each in turn, ``repeats`` times, after ``warm_up`` calls that do not count."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(warm_up + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds = time.perf_counter() - start
            if i >= warm_up:
                found[name].append(seconds)
    return found


def on_gpu(functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 5) -> dict[str, list[float]]:
    """Return seconds of every call on a GPU, by its own events."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(warm_up + repeats):
        for name, function in functions.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            begin.record()
            function()
            end.record()
            torch.cuda.synchronize()
            if i >= warm_up:
                found[name].append(begin.elapsed_time(end) / 1000)
    return found


def matrix_product(device: str = "cpu") -> Callable[[], object]:
    """Return a product of two square float32 matrices, the measure of the machine's speed."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    return lambda: a @ b


def gflops(seconds: Sequence[float]) -> float:
    """Return the GFLOP/s of such products."""
    return 2 * MATRIX**3 / median(seconds) / 1e9


def operations(function: Callable[[], object]) -> dict[str, float]:
    """Return the GFLOP of a call by torch's operator: the matrix products and convolutions that torch's own counter sees."""
    with FlopCounterMode(display=False) as counter:
        function()
    return {str(operator): count / 1e9 for operator, count in counter.get_flop_counts()["Global"].items()}


def resident_gb() -> tuple[float, float]:
    """Return this process's memory now and its maximum since the start, in GB (1e9 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = {line.split(":")[0]: line.split()[1] for line in status.read_text().splitlines() if line.startswith("Vm")}
        return int(found["VmRSS"]) * 1024 / 1e9, int(found["VmHWM"]) * 1024 / 1e9
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    return most, most


def machine() -> dict[str, Any]:
    """Return a description of the machine: a run's environment, the processor, and the waiting policy of idle threads."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        **environment()[0],
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
    }


def available_gb() -> float:
    """Return the available memory in GB; 0 if the system does not report it."""
    return next((int(line.split()[1]) * 1024 / 1e9 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable")), 0.0)


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []
