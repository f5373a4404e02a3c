"""Lightning's W&B logger, without what W&B warns of and without what takes it seconds to start."""

from __future__ import annotations

import sys
from typing import Any

from pytorch_lightning.loggers import WandbLogger

LAUNCH = "wandb.sdk.launch.inputs.internal"
APPLY = "_detect_and_apply_job_inputs"


class QuietWandbLogger(WandbLogger):
    """Lightning's, with its arguments, but W&B is not given its setting ``anonymous``.

    Lightning passes it whether or not it is set, and recent W&B warns of it in every run.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self._wandb_init.get("anonymous") is None:
            self._wandb_init.pop("anonymous", None)
        _launch_when_used()


def _launch_when_used() -> None:
    """Let every run ask W&B Launch for job inputs only where somebody has imported it, without which there can be none.

    W&B imports it to ask, with its whole public interface: seconds of every training's start.
    """
    from wandb.sdk.wandb_run import Run

    ask = getattr(Run, APPLY, None)
    if ask is None or hasattr(ask, "asks_if_imported"):
        return

    def ask_if_imported(run: Any) -> None:
        if LAUNCH in sys.modules:
            ask(run)

    ask_if_imported.asks_if_imported = True  # type: ignore[attr-defined]
    setattr(Run, APPLY, ask_if_imported)
