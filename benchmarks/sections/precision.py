"""What bf16 changes in a trained network's error: the demo in both precisions, on the GPU where there is one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.settings import Settings
from dhmd.evaluation.runs import read_run

PRECISIONS = ("32-true", "bf16-mixed")
EPOCHS = 10
SEEDS = (1111, 1112, 1113)
TITLE = "Precision"


def measure(settings: Settings) -> dict[str, Any]:
    """Test metrics of short trainings of the demo, by precision, seed by seed."""
    device, epochs, seeds = (
        "gpu" if torch.cuda.is_available() else "cpu",
        1 if settings.quick else EPOCHS,
        SEEDS[: 1 if settings.quick else None],
    )
    return {"device": device, "epochs": epochs, "tests": {p: [_test(device, p, epochs, seed) for seed in seeds] for p in PRECISIONS}}


def tables(found: dict[str, Any]) -> str:
    """A row a precision, and the differences seed by seed."""
    lines = ["| `trainer.precision` | MAE on the test split, seed by seed | ACC2 (non-zero) |", "| --- | --- | --- |"]
    for precision, tests in found["tests"].items():
        errors, shares = [f"{test['mae']:.4f}" for test in tests], [f"{100 * test['acc2_non_zero']:.1f}" for test in tests]
        lines.append(f"| `{precision}` | {', '.join(errors)} | {', '.join(shares)} |")
    pairs = zip(*found["tests"].values(), strict=True)
    gaps = ", ".join(f"{half['mae'] - full['mae']:+.4f}" for full, half in pairs)
    where = f"{found['epochs']} epochs of `experiment=demo` (synthetic data) on the {found['device'].upper()}"
    return "\n".join([*lines, "", f"After {where}; the MAE differs by {gaps}."])


def _test(device: str, precision: str, epochs: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"trainer={device}", f"trainer.precision={precision}", f"trainer.max_epochs={epochs}", f"seed={seed}", "logger=none"]
        command = [sys.executable, "-m", "dhmd.cli", "train", "experiment=demo", *overrides, f"hydra.run.dir={folder}/run"]
        subprocess.run(command, check=True, capture_output=True)
        return dict(read_run(Path(folder) / "run").test)
