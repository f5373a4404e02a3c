"""Several runs at once, each with its own folder, data order, schedule, stopping and record."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from dhmd.config import to_plain
from dhmd.errors import DhmdError, RunError, UsageError
from dhmd.training.allocator import freed_memory_kept
from dhmd.training.quiet import quiet
from dhmd.training.record import RunFolder
from dhmd.training.rendezvous import run_together
from dhmd.training.replicas import make_of
from dhmd.training.train import TrainResult, train

log = logging.getLogger(__name__)


def train_together(configs: Sequence[DictConfig], swept: bool = False) -> list[TrainResult]:
    """Train runs of one make (`dhmd.training.replicas.make_of`) beside each other.

    Args:
        configs: of the runs, each with a ``run_dir`` of its own.
        swept: whether they are jobs of a sweep, where a run that is refused leaves the reason in its folder, too.

    Returns:
        Their results, in order.

    Raises:
        RunError: some failed, each of which says so in its folder; the others went on to their ends.
        UsageError: those that failed were refused, or they are not of one make.
    """
    makes = {make_of(to_plain(cfg)) for cfg in configs}
    if len(makes) > 1:
        raise UsageError(f"{len(configs)} runs cannot train at once: they differ in more than seeds, weights of losses and optimisation")
    folders = [RunFolder(Path(cfg.run_dir)) for cfg in configs]
    log.info("%d runs at once: %s", len(configs), ", ".join(folder.path.name for folder in folders))
    with freed_memory_kept(), quiet():  # around all: both belong to the process, and runs do not end in the order they begin in
        outcomes = run_together([partial(train, cfg) for cfg in configs])
    failed = {folder: outcome for folder, outcome in zip(folders, outcomes, strict=True) if isinstance(outcome, BaseException)}
    for folder, error in failed.items():
        if swept or not isinstance(error, UsageError):  # what was refused has not begun
            folder.fail(_said(error))
    if not failed:
        return [outcome for outcome in outcomes if isinstance(outcome, TrainResult)]
    lines = [f"  {folder.path.name}: {_said(error)}" for folder, error in failed.items()]
    rest = "" if len(failed) == len(folders) else "; the others finished"
    kind = UsageError if all(isinstance(error, UsageError) for error in failed.values()) else RunError
    raise kind(f"{len(failed)} of {len(folders)} runs failed{rest}:\n" + "\n".join(lines)) from next(iter(failed.values()))


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, DhmdError) else f"{type(error).__name__}: {error}"
