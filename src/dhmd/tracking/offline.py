"""Offline logs of W&B below a folder, and the state of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dhmd.files import in_use


class State(Enum):
    """State of a log."""

    OPEN = "to upload"
    UPLOADED = "uploaded before"
    TRAINING = "of a run that is training"


@dataclass(frozen=True)
class OfflineLog:
    """One start of a run; a run that was interrupted and continued has several, with one id.

    Attributes:
        file: RUN/wandb/offline-run-TIME-ID/run-ID.wandb.
    """

    file: Path

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return self.file.parents[2]

    @property
    def uploaded(self) -> bool:
        """True if ``wandb sync`` left its mark."""
        return self.file.with_suffix(".wandb.synced").exists()

    def state(self) -> State:
        """Return the state of the log.

        A log that is still being written is not uploaded: W&B would take the part for the whole and never return to it.
        """
        if self.uploaded:
            return State.UPLOADED
        return State.TRAINING if in_use(self.run_dir) else State.OPEN


def offline_logs(folder: Path) -> list[OfflineLog]:
    """Return all offline logs below a folder; logs of one run are in the order they were begun."""
    return [OfflineLog(file) for file in sorted(folder.absolute().rglob("run-*.wandb")) if file.parent.name.startswith("offline-run-")]
