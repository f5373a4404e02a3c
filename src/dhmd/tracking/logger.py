"""Lightning's W&B logger without W&B's warning about ``anonymous`` and without a slow import at the start."""

from __future__ import annotations

import sys
from typing import Any

from pytorch_lightning.loggers import WandbLogger

LAUNCH = "wandb.sdk.launch.inputs.internal"
APPLY = "_detect_and_apply_job_inputs"


class QuietWandbLogger(WandbLogger):
    """Lightning's WandbLogger, with the same arguments, except that W&B does not get its setting ``anonymous``.

    Lightning always passes the setting, and recent versions of W&B warn about it in every run.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self._wandb_init.get("anonymous") is None:
            self._wandb_init.pop("anonymous", None)
        _launch_when_used()


def _launch_when_used() -> None:
    """Let runs ask W&B Launch for job inputs only if Launch has been imported, without which there can be none.

    Otherwise W&B imports Launch with its whole public interface, which takes seconds at every training's start.
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
