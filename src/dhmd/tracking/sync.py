"""The command ``dhmd sync``: upload the offline W&B runs below a folder, by W&B's own ``wandb sync``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dhmd.errors import RunError, UsageError
from dhmd.tracking.offline import OfflineLog, State, offline_logs
from dhmd.tracking.server import check_server

AT_ONCE = 100  # logs for a command: the length of a command line is limited


def sync(folder: Path, dry_run: bool = False) -> None:
    """Print the offline runs, upload the open ones, and print the outcome.

    Args:
        folder: a run folder, a sweep, or a folder above.
        dry_run: whether to print only the runs that would be uploaded, without using the network.

    Raises:
        UsageError: the folder does not exist.
        RunError: the folder holds no offline runs, no server answers, there is no login, or a run was not uploaded.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; expected a run folder, a sweep, or a folder of them")
    logs = offline_logs(folder)
    if not logs:
        raise RunError(
            f"{folder}: no offline W&B runs below; expected RUN/wandb/offline-run-*, as `dhmd train` with logger=wandb leaves them"
        )
    states = [log.state() for log in logs]
    counted = Counter(states)
    print(f"{len(logs)} offline logs: {', '.join(f'{counted[state]} {state.value}' for state in State if counted[state])}")
    waiting = [log for log, state in zip(logs, states, strict=True) if state is State.OPEN]
    for log in waiting:
        print(f"  {os.path.relpath(log.file.parent)}")
    if dry_run or not waiting:
        return
    check_server()
    for start in range(0, len(waiting), AT_ONCE):
        _upload(waiting[start : start + AT_ONCE])
    print(f"{len(waiting)} uploaded")


def _upload(logs: Sequence[OfflineLog]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_MODE"}  # may say offline, as in the run
    command = [*_wandb(), "sync", *(str(log.file.parent) for log in logs)]
    said = []
    # no input: W&B would ask for a key when nobody may be there to answer
    with subprocess.Popen(  # noqa: S603  # W&B's own program and paths found here
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101  # asked for above
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    missing = [log for log in logs if not log.uploaded]
    if process.returncode == 0 and not missing:
        return
    if any("No API key" in line or "Not authenticated" in line for line in said):
        raise RunError("W&B knows no login on this machine, so nothing was uploaded; run `wandb login` once, then the same command again")
    raise RunError(
        f"{len(missing)} of {len(logs)} offline logs were not uploaded (`wandb sync`: exit status {process.returncode}); "
        "what it said is above; the same command tries them again"
    )


def _wandb() -> list[str]:
    found = shutil.which("wandb")
    return [found] if found else [sys.executable, "-m", "wandb"]
