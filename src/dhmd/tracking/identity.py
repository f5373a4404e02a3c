"""Identity of a run in W&B: its sweep, its job, its tags, and an id that outlives interruptions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from dhmd.files import write_text

LONGEST_NAME = 128
"""Maximum number of characters of a group or name in W&B."""
LONGEST_TAG = 64
"""Maximum number of characters of a tag in W&B."""
SWEEP_RECORD = "sweep.json"
ID_FILE = "wandb_id"


def wandb_identity(run_dir: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of Lightning's WandbLogger; ``group``, ``name`` and ``tags`` of ``logger.wandb`` take precedence if they are set.

    Args:
        run_dir: the run folder; `ID_FILE` is written into it if it is missing.
        config: the run's plain configuration, which is sent to W&B as a whole.

    Returns:
        ``id``, ``config``, ``group`` (the sweep's folder, None outside of a sweep), ``name`` (the run folder) and ``tags``
        (data, model, ablation).
    """
    given, labels = config["logger"]["wandb"], config["labels"]
    tags = [str(labels[key])[:LONGEST_TAG] for key in ("data", "model", "ablation") if labels.get(key)]
    return {
        "id": run_id(run_dir),
        "config": dict(config),
        "group": given.get("group") or sweep_of(run_dir),
        "name": given.get("name") or shortened(run_dir.absolute().name),
        "tags": given.get("tags") or tags,
    }


def run_id(run_dir: Path) -> str:
    """Return the id of a run and of its continuations: the folder's, else that given by a W&B sweep's agent, else a new one."""
    file = run_dir / ID_FILE
    if not file.exists():
        assigned = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        write_text(file, assigned or uuid4().hex[:8])
    return file.read_text()


def sweep_of(run_dir: Path) -> str | None:
    """Return the name of the sweep that a run folder lies in; None for a single run."""
    sweep = run_dir.absolute().parent
    return shortened(sweep.name) if (sweep / SWEEP_RECORD).is_file() else None


def shortened(name: str) -> str:
    """Return a folder's name, shortened to W&B's limit; its end is kept, because long names have their digest there."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}{name[-9:]}"
