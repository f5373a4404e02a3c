"""The sweeper ``hparams_search=optuna``: a search over hyper-parameters by Optuna, whose trials are jobs like those of any sweep."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.dhmd_sweeps.sweeper import Sweeper, refuse_ddp_in_this_process, refuse_unfinished

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from dhmd.sweeps.folder import Job
    from dhmd.sweeps.search import Search

log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """Sweeper that runs Optuna's proposals, several at once if the launcher does, and reports the best one on validation.

    Trials lie in folders ``trial-0000``, ``trial-0001``, ...; the same command, given again, continues trials that were running or
    failed, with the same values, until there are ``n_trials``. The test split is never read.

    Args:
        study: prefix of the name of the search's folder.
        params: values to search over, by key in Hydra's grammar; null leaves a key out, and so does a key that the model lacks. The
            command line takes precedence: several values are searched over, one is fixed.
        sampler: tpe | random.
        seed: seed of the sampler.
        startup: number of trials drawn at random before results are used.
        n_trials: total number of trials over all commands of this search.
        at_once: number of trials proposed together; None for as many as the launcher runs at once.
    """

    def __init__(
        self,
        study: str | None = None,
        params: dict[str, Any] | None = None,
        sampler: str = "tpe",
        seed: int = 0,
        startup: int = 10,
        n_trials: int = 20,
        at_once: int | None = None,
    ) -> None:
        from dhmd.errors import UsageError
        from dhmd.sweeps.search import require_optuna

        require_optuna()
        for name, value, least in (("seed", seed, 0), ("startup", startup, 0), ("n_trials", n_trials, 1), ("at_once", at_once or 1, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"hydra.sweeper.{name}: found {value!r}, expected a whole number, {least} at least")
        super().__init__(study, {key: str(value) for key, value in (params or {}).items() if value is not None})
        self.options: dict[str, Any] = {"sampler": sampler, "seed": seed, "startup": startup}
        self.n_trials, self.at_once = n_trials, at_once

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Leave out the keys that this model does not have, then set up as any sweep."""
        absent = [key for key in self.params or {} if not _has(config, key)]
        self.params = {key: value for key, value in (self.params or {}).items() if key not in absent}
        if absent:
            log.info("not searched over, since this configuration has no such key: %s", ", ".join(absent))
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials until there are ``n_trials``.

        Returns:
            The lowest validation loss.

        Raises:
            RunError: a trial failed; all others were run before.
            UsageError: no key varies, a seed varies, the test split would be read, or the folder holds another search.
        """
        from dhmd.errors import UsageError
        from dhmd.files import locked
        from dhmd.runs.identity import key_of_override
        from dhmd.sweeps.naming import hydra_flags
        from dhmd.sweeps.search import STORAGE, Search, describe

        assert self.config is not None and self.hydra_context is not None  # noqa: S101, PT018  # setup() was called
        if self.config.evaluate_test:
            raise UsageError("evaluate_test: found true, expected false: a search is scored on validation, and its trials are not tested")
        refuse_ddp_in_this_process(self.config)
        overrides = OverridesParser.create(self.hydra_context.config_loader).parse_overrides([*self._given(), *arguments])
        space, fixed = _parted({o.get_key_element(): o for o in overrides})  # the command line's values take precedence over the file's
        typed = [*fixed, *(str(o.input_line) for o in space.values()), *hydra_flags(sys.argv[1:])]
        asked = sorted(o for o in typed if key_of_override(o).names_sweep)
        folder = Path(self.config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{STORAGE}.lock"):
            search = Search(folder, space, asked, **self.options)
            tried: set[str] = set()
            while due := self._batch(search, tried, fixed):
                self._run(due, folder)
                tried.update(due)
                self._take_results(search, fixed)
            best = self._take_results(search, fixed)
            if best is not None:
                print(describe(folder))
            refuse_unfinished(folder, search.trials)
        return None if best is None else best.loss

    def _batch(self, search: Search, tried: Collection[str], fixed: list[str]) -> dict[str, list[str]]:
        """Return the trials to run next (trials without a result that were not run yet, or new ones) by name, with all their overrides."""
        from dhmd.sweeps.folder import write_sweep

        assert self.config is not None  # noqa: S101  # setup() was called
        size = self.at_once or _at_once(self.config.hydra.launcher)
        due, count = set(search.unfinished) - set(tried), len(search.trials)
        if not due or count % size:  # a batch ends where it would have ended without interruptions of the search
            for _ in range(count, min(self.n_trials, count - count % size + size)):
                search.ask()
        jobs = {name: [*fixed, *overrides] for name, overrides in search.trials.items()}
        due = set(search.unfinished) - set(tried)
        for name in {*list(jobs)[:1], *due}:  # the first one represents all earlier trials
            self._check(search.folder / name, jobs[name])
        write_sweep(search.folder, jobs, shlex.join(["dhmd", *sys.argv[1:]]))
        log.info("search %s: %d of %d trials finished", search.folder, len(jobs) - len(search.unfinished), max(self.n_trials, len(jobs)))
        return {name: overrides for name, overrides in jobs.items() if name in due}

    def _take_results(self, search: Search, fixed: list[str]) -> Job | None:
        """Give finished results to the study, write the table of trials, and return the best trial."""
        from dhmd.runs.identity import key_of_override
        from dhmd.sweeps.folder import State, jobs_of
        from dhmd.sweeps.naming import hydra_flags
        from dhmd.sweeps.search import write_best, write_trials

        jobs = {job.name: job for job in jobs_of(search.folder) if job.name in search.trials}
        for name in search.unfinished:
            if jobs[name].state is State.FINISHED:
                search.tell(jobs[name])
        write_trials(search.folder, list(jobs.values()), search.space)
        best = search.best()
        if best is not None:
            kept = [o for o in fixed if key_of_override(o).of_run and not o.startswith("evaluate_test=")]
            write_best(search.folder, jobs[best], search.space, [*hydra_flags(sys.argv[1:]), *kept, *search.trials[best]])
        return None if best is None else jobs[best]


def _parted(overrides: dict[str, Override]) -> tuple[dict[str, Override], list[str]]:
    """Return the overrides that vary, by key, and those that do not.

    Raises:
        UsageError: no key varies, or the seed does.
    """
    from dhmd.errors import UsageError

    space = {key: o for key, o in overrides.items() if o.is_sweep_override()}
    if not space:
        raise UsageError("hparams_search: nothing to search over; give a key several values, as 'optimisation.lr=interval(1e-4,1e-2)'")
    if "seed" in space:
        raise UsageError("seed: a search would choose the luckiest; give one, and train the best trial over several seeds afterwards")
    return space, [str(o.input_line) for key, o in overrides.items() if key not in space]


def _at_once(launcher: DictConfig) -> int:
    """Return the number of jobs that a launcher runs at once, from its known options; 1 if it has none of them."""
    numbers = [launcher.get(name) for name in ("n", "n_jobs", "array_parallelism")]
    return next((n for n in numbers if isinstance(n, int) and n > 0), 1)


def _has(config: DictConfig, key: str) -> bool:
    """Return whether a configuration has a key, or a group of that name."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return (isinstance(node, DictConfig) and name in node) or key in config.hydra.runtime.choices
