"""What a run is called in W&B: its sweep, its job, its tags, and an id that outlives interruptions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from dhmd.files import write_text

LONGEST_NAME = 128
"""Characters of a group or name that W&B takes."""
LONGEST_TAG = 64
"""Characters of a tag that W&B takes."""
SWEEP_RECORD = "sweep.json"
ID_FILE = "wandb_id"


def wandb_identity(run_dir: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of Lightning's WandbLogger; ``group``, ``name`` and ``tags`` of ``logger.wandb`` win where they are set.

    Args:
        run_dir: the run folder; `ID_FILE` is written into it where it is missing.
        config: the run's plain configuration, which W&B is given whole.

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
    """The id of a run and of its continuations: that of the folder, else the one a W&B sweep's agent has given, else a new one."""
    file = run_dir / ID_FILE
    if not file.exists():
        assigned = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        write_text(file, assigned or uuid4().hex[:8])
    return file.read_text()


def sweep_of(run_dir: Path) -> str | None:
    """The name of the sweep a run folder lies in; None for a run by itself."""
    sweep = run_dir.absolute().parent
    return shortened(sweep.name) if (sweep / SWEEP_RECORD).is_file() else None


def shortened(name: str) -> str:
    """A folder's name, no longer than W&B takes; its end stays, which is where long names carry their digest."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}{name[-9:]}"
