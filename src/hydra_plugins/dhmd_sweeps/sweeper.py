"""Grid sweeper of Hydra whose folders are named by overrides: the same command, given again, continues where it was stopped."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

log = logging.getLogger(__name__)


# a plain mapping: Hydra's way of loading plugins fails for dataclasses with postponed annotations
CONFIG: dict[str, Any] = {"_target_": "hydra_plugins.dhmd_sweeps.sweeper.Sweeper", "study": None, "params": {}}
ConfigStore.instance().store(group="hydra/sweeper", name="dhmd", node=CONFIG, provider="dhmd")


class Sweeper(BasicSweeper):
    """Sweeper over every combination of the given values, each a job in a folder named by its varying keys.

    Finished jobs are skipped, jobs that another process is running are waited for, and all others are launched; interrupted jobs resume.
    A failed job does not stop the others.

    Args:
        study: name of a file of conf/sweep; None without one.
        params: values by key, as on the command line.
    """

    def __init__(self, study: str | None = None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.study = study

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Set the folder of the sweep, then create the launcher."""
        from dhmd.sweeps.naming import hydra_flags, sweep_name

        overrides = OverridesParser.create(hydra_context.config_loader).parse_overrides([*self._given(), *config.hydra.overrides.task])
        last = {o.get_key_element(): o for o in overrides}  # the command line's values take precedence over a study's
        self.varying = [key for key, o in last.items() if o.is_sweep_override()]
        if not config.hydra.sweep.dir:
            typed = [*self._given(), *config.hydra.overrides.task, *hydra_flags(sys.argv[1:])]
            with open_dict(config):
                config.hydra.sweep.dir = f"runs/sweeps/{sweep_name(self.study, self.varying, typed)}"
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the jobs that are not finished.

        Returns:
            The launcher's results.

        Raises:
            RunError: a job failed; all others were run before.
            UsageError: jobs train over several processes, and the launcher cannot start such jobs.
        """
        from dhmd.sweeps.folder import write_sweep
        from dhmd.sweeps.naming import job_name

        assert self.config is not None and self.hydra_context is not None  # noqa: S101, PT018  # setup() was called
        refuse_ddp_in_this_process(self.config)
        parser = OverridesParser.create(self.hydra_context.config_loader)
        combinations = self.split_arguments(parser.parse_overrides([*self._given(), *arguments]), None)[0]
        folder = Path(self.config.hydra.sweep.dir).absolute()
        jobs = {job_name(self.varying, overrides): overrides for overrides in combinations}
        for name, overrides in jobs.items():
            self._check(folder / name, overrides)
        folder.mkdir(parents=True, exist_ok=True)
        write_sweep(folder, jobs, shlex.join(["dhmd", *sys.argv[1:]]))
        launched = self._run(jobs, folder)
        refuse_unfinished(folder, jobs)
        return launched

    def _run(self, jobs: Mapping[str, Sequence[str]], folder: Path) -> list[Any]:
        """Launch each unfinished job once, and wait for jobs that another process is running."""
        from dhmd.sweeps.folder import State, job_at
        from dhmd.sweeps.naming import quoted

        launched: list[Any] = []
        tried: set[str] = set()
        while True:
            states = {name: job_at(folder / name).state for name in jobs}
            left = [name for name in jobs if states[name] not in (State.FINISHED, State.RUNNING) and name not in tried]
            if left:
                log.info("sweep %s: %d jobs, %d to do", folder, len(jobs), len(left))
                where = f"hydra.sweep.dir={quoted(folder)}"
                due = [[*jobs[name], where, f"hydra.sweep.subdir={quoted(name)}"] for name in left]
                launched.extend(self._launch(due, folder))
                tried.update(left)
            elif State.RUNNING in states.values():
                time.sleep(2)  # jobs of another process, perhaps left by a killed sweep, which may end without having finished
            else:
                return launched

    def _launch(self, due: list[list[str]], folder: Path) -> Sequence[Any]:
        assert self.launcher is not None  # noqa: S101  # setup() was called
        try:
            return self.launcher.launch(due, initial_job_idx=0)
        except KeyboardInterrupt:
            print(f"\nthe same command again goes on with the sweep in {folder}", file=sys.stderr)
            raise

    def _check(self, job: Path, overrides: list[str]) -> None:
        """Compose a job, so that its errors show before any job begins, and check that an existing run has this configuration.

        Raises:
            UsageError: an existing run has another configuration.
        """
        from dhmd.config import to_plain
        from dhmd.errors import UsageError
        from dhmd.runs.folder import RunFolder
        from dhmd.runs.identity import changed_on_resuming, learned

        assert self.config is not None and self.hydra_context is not None  # noqa: S101, PT018  # setup() was called
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        run = RunFolder(job)
        if not run.started:
            return
        with open_dict(config):
            config.run_dir = str(job)  # otherwise asked of a job that has begun
        now = {key: to_plain(value) if isinstance(value, DictConfig) else value for key, value in learned(config).items()}
        if differing := changed_on_resuming(learned(run.config()), now):
            found = "; ".join(differing[:5])
            raise UsageError(f"{job}: holds a run of another configuration: {found}; choose another hydra.sweep.dir, or remove the folder")

    def _given(self) -> list[str]:
        return [f"{key}={value}" for key, value in (self.params or {}).items()]


def refuse_unfinished(folder: Path, jobs: Collection[str]) -> None:
    """Raise an error that names the unfinished jobs, if there are any.

    Raises:
        RunError: a job did not finish.
    """
    from dhmd.errors import RunError
    from dhmd.sweeps.folder import State, jobs_of

    if left := [job for job in jobs_of(folder) if job.name in jobs and job.state is not State.FINISHED]:
        lines = [f"  {job.name}: {job.error or 'ended without a word'}" for job in left]
        raise RunError(f"{len(left)} of {len(jobs)} jobs did not finish (the same command tries them again):\n" + "\n".join(lines))


def refuse_ddp_in_this_process(config: DictConfig) -> None:
    """Raise an error if a job would train with Lightning's DDP inside the process of the sweep.

    DDP starts a job's further processes with the command line, which in this process is that of the whole sweep.

    Raises:
        UsageError: the launcher would run such a job in this process.
    """
    from dhmd.errors import UsageError

    strategy, launcher = config.trainer.get("strategy"), str(config.hydra.launcher._target_)
    name = strategy if isinstance(strategy, str) else str((strategy or {}).get("_target_", ""))
    if "ddp" in name.lower() and not launcher.startswith(("hydra_plugins.dhmd_sweeps.", "hydra_plugins.hydra_submitit_launcher.")):
        raise UsageError(
            f"trainer.strategy={name}: {launcher.rpartition('.')[2]} cannot start jobs of several processes; add launcher=process"
        )
