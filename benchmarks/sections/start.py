"""Start-up times: of the help, of the import, and of the first training step of the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.settings import Settings

FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
from dhmd.cli import main
register_optimizer_step_post_hook(lambda *_: os._exit(0))
main(["train", "experiment=demo", "hydra.run.dir=" + sys.argv[1]])
os._exit(1)
"""
"""Script that ends with status 0 when the first step of an optimizer is done."""
COMMANDS = {
    "dhmd --help": [str(Path(sys.executable).with_name("dhmd")), "--help"],
    "import dhmd": [sys.executable, "-c", "import dhmd"],
    "dhmd train experiment=demo": [sys.executable, "-c", FIRST_STEP],
}
AT_MOST = {"dhmd --help": 0.4, "dhmd train experiment=demo": 12}
TITLE = "Start"


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds of separate processes, by command; of the training, up to the end of its first step."""
    found: dict[str, list[float]] = {}
    for name, command in COMMANDS.items():
        found[name] = []
        for _ in range(settings.slow_repeats):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                subprocess.run([*command, f"{folder}/run"], check=True, capture_output=True, env={**os.environ, "WANDB_MODE": "offline"})
                found[name].append(time.perf_counter() - start)
    return {"seconds": found}


def tables(found: dict[str, Any]) -> str:
    """Return a row for each command."""
    lines = ["| from the command to | median | wanted |", "| --- | --- | --- |"]
    for name, seconds in found["seconds"].items():
        until = " (its first training step)" if "train" in name else ""
        lines.append(f"| `{name}`{until} | {median(seconds):.2f} s | {f'{AT_MOST[name]} s' if name in AT_MOST else ''} |")
    return "\n".join(lines)
