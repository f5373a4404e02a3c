"""The launcher ``launcher=process``: one process for each job, n at once, each with its own GPUs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)
GRACE = 10.0  # seconds that a job has to end when the sweep is interrupted
NOT_HANDED_ON = ("hydra.sweep.", "hydra.mode", "hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "launcher=")


CONFIG: dict[str, Any] = {
    "_target_": "hydra_plugins.dhmd_sweeps.process_launcher.ProcessLauncher",
    "n": 1,  # jobs at once
    "gpus": None,  # indices of the GPUs to assign; null: every job sees all of them
    "gpus_per_job": 1,
    "threads": None,  # threads of each job; null: the processor's cores are shared among the jobs at once
}
ConfigStore.instance().store(group="hydra/launcher", name="process", node=CONFIG, provider="dhmd")


class ProcessLauncher(Launcher):
    """Launcher that starts ``dhmd train`` for each job.

    Separate processes isolate the jobs' crashes from each other, and Lightning's DDP needs them: it starts a job's further processes with
    the command line of the first. When the sweep is interrupted or (on Linux) killed, its jobs are ended.

    Args:
        n: number of jobs at once.
        gpus: indices of the GPUs to assign; None to assign none.
        gpus_per_job: number of GPUs of each job.
        threads: number of threads of each job.

    Raises:
        UsageError: a number is out of range, or there are too few GPUs for the jobs at once.
    """

    def __init__(self, n: int = 1, gpus: Sequence[int] | None = None, gpus_per_job: int = 1, threads: int | None = None) -> None:
        from dhmd.errors import UsageError

        if n < 1 or gpus_per_job < 1 or (threads is not None and threads < 1):
            raise UsageError(f"launcher: n={n}, gpus_per_job={gpus_per_job}, threads={threads}: expected 1 at least")
        gpus = None if gpus is None else list(gpus)
        if gpus is not None and len(set(gpus)) != len(gpus):
            raise UsageError(f"launcher.gpus: found {gpus}; expected each GPU once")
        if gpus is not None and n * gpus_per_job > len(gpus):
            raise UsageError(f"launcher.gpus: found {len(gpus)}; {n} jobs at once with {gpus_per_job} each need {n * gpus_per_job}")
        slots = [None] * n if gpus is None else [gpus[i * gpus_per_job : (i + 1) * gpus_per_job] for i in range(n)]
        self.slots: list[list[int] | None] = list(slots)
        self.threads = threads or max(1, (os.cpu_count() or 1) // n)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the arguments that launching needs."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, n at once, and return when all have ended."""
        flags = list(OmegaConf.to_container(self.config.hydra.overrides.hydra))  # type: ignore[arg-type]
        common = [o for o in flags if not str(o).lstrip("+~").startswith(NOT_HANDED_ON)]
        waiting = list(enumerate(job_overrides))
        returns = [JobReturn() for _ in job_overrides]
        free, running = list(self.slots), dict[int, _Running]()
        try:
            while waiting or running:
                while waiting and free:
                    number, overrides = waiting.pop(0)
                    slot = free.pop(0)
                    running[number] = self._start(number, len(job_overrides), [*common, *overrides], slot)
                for number, job in list(running.items()):
                    if (status := job.process.poll()) is not None:
                        free.append(job.slot)
                        del running[number]
                        _close(job, status)
                        returns[number].status = JobStatus.COMPLETED if status == 0 else JobStatus.FAILED
                        returns[number].overrides = list(job_overrides[number])
                        done = "finished" if status == 0 else "failed"
                        log.info("job %d of %d %s: %s", number + 1, len(job_overrides), done, job.folder.name)
                time.sleep(0.1)
        finally:
            _end([job.process for job in running.values()])
        return returns

    def _start(self, number: int, of: int, overrides: Sequence[str], slot: list[int] | None) -> _Running:
        from dhmd.runs.folder import RunFolder
        from dhmd.sweeps.naming import hydra_flags, quoted

        own = [o for o in overrides if not o.lstrip("+~").startswith(NOT_HANDED_ON)]
        last = {o.get_key_element(): o for o in OverridesParser.create().parse_overrides(list(overrides))}
        folder = Path(str(last["hydra.sweep.dir"].value())) / str(last["hydra.sweep.subdir"].value())
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(self.threads)), "PYTHONSAFEPATH": "1"}
        if slot is not None:
            environment |= {"CUDA_VISIBLE_DEVICES": ",".join(map(str, slot)), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        where = ["resume=true", "hydra.mode=RUN", f"hydra.run.dir={quoted(folder)}"]
        command = [*_program(), "train", *own, *where, *hydra_flags(sys.argv[1:])]
        RunFolder(folder).failed_file.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        log.info("job %d of %d: %s%s", number + 1, of, folder.name, "" if slot is None else f" on GPU {', '.join(map(str, slot))}")
        output = (folder / "job.log").open("a")
        process = subprocess.Popen(  # noqa: S603  # our own command
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent
        )
        return _Running(process, folder, slot, output.name)


def _program() -> list[str]:
    """Return the command ``dhmd`` of this interpreter, as a script, so that the working folder is not on the module path."""
    script = Path(sys.executable).with_name("dhmd")
    return [sys.executable, str(script)] if script.is_file() else [sys.executable, "-m", "dhmd.cli"]


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    folder: Path
    slot: list[int] | None
    log: str


def _close(job: _Running, status: int) -> None:
    """Write the outcome into the job's folder if its process could not write it."""
    from dhmd.runs.folder import RunFolder

    folder = RunFolder(job.folder)
    if status != 0 and not folder.failed_file.exists():
        lines = [line for line in Path(job.log).read_text(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith("dhmd: unexpected error")] or ["no output"]
        said = [line.removeprefix("dhmd: ") for line in telling if line.startswith("dhmd: ")]
        ended = f"killed by signal {signal.Signals(-status).name}: " if status < 0 else ""
        folder.fail(f"{ended}{said[-1] if said and not ended else telling[-1]}")


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, however that ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
