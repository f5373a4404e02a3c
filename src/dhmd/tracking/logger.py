"""Lightning's W&B logger, without what W&B warns of."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.loggers import WandbLogger


class QuietWandbLogger(WandbLogger):
    """Lightning's, with its arguments, but W&B is not given its setting ``anonymous``.

    Lightning passes it whether or not it is set, and recent W&B warns of it in every run.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self._wandb_init.get("anonymous") is None:
            self._wandb_init.pop("anonymous", None)
