"""Effect of bf16 on a trained network's error: the demo in both precisions, on the GPU if there is one."""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from benchmarks.settings import Settings
from dhmd.app import compose
from dhmd.training.evaluate import evaluate
from dhmd.training.train import train

PRECISIONS = ("32-true", "bf16-mixed")
EPOCHS = 10
SEEDS = (1111, 1112, 1113)
TITLE = "Precision"


def measure(settings: Settings) -> dict[str, Any]:
    """Return test metrics of short trainings of the demo, by precision, seed by seed."""
    device, epochs, seeds = (
        "gpu" if torch.cuda.is_available() else "cpu",
        1 if settings.quick else EPOCHS,
        SEEDS[: 1 if settings.quick else None],
    )
    return {"device": device, "epochs": epochs, "tests": {p: [_test(device, p, epochs, seed) for seed in seeds] for p in PRECISIONS}}


def tables(found: dict[str, Any]) -> str:
    """Return a row for each precision, and the differences seed by seed."""
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
        small = ["data.synthetic.n_train=64"] if epochs == 1 else []
        options = [*small, f"trainer={device}", f"trainer.precision={precision}", f"trainer.max_epochs={epochs}", f"seed={seed}"]
        # without the test split a training draws no figures, which would take longer than the training
        result = train(compose(["experiment=demo", "logger=none", "evaluate_test=false", f"run_dir={folder}/run", *options]))
        return evaluate(result.run_dir, "test").metrics
