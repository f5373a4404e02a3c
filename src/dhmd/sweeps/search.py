"""Search over hyper-parameters: its space, its study in a file that outlives the command, and the results of its trials."""

from __future__ import annotations

import csv
import io
import logging
import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep, Transformer

from dhmd.errors import RunError, UsageError
from dhmd.files import write_text
from dhmd.runs.folder import RunFolder
from dhmd.sweeps.folder import Job, State

if TYPE_CHECKING:  # an extra
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

STORAGE = "search.db"
TABLE = "trials.csv"
BEST = "best.yaml"
SAMPLERS = ("tpe", "random")
MOST_SEEDS = 2**32


class Search:
    """Study of a search: its trials, their values and their results.

    The study lies in ``search.db`` (SQLite) in the search's folder, in the format of Optuna's own tools. A trial is written there with all
    its values before it begins, and its result when it has finished: a search that was killed continues with the same trials.

    Args:
        folder: folder of the search; it must exist.
        space: overrides by key, each with several values (`hydra.core.override_parser`).
        asked: everything else that defines the search, as text; a folder accepts no other search.
        sampler: name of one of SAMPLERS.
        seed: seed of the sampler.
        startup: number of trials drawn at random before results are used.

    Raises:
        UsageError: Optuna is not installed, an option is wrong, a value cannot be searched over, or the folder holds another search.
        RunError: the study cannot be read.
    """

    def __init__(
        self, folder: Path, space: Mapping[str, Override], asked: Sequence[str], sampler: str = "tpe", seed: int = 0, startup: int = 10
    ) -> None:
        require_optuna()
        if sampler not in SAMPLERS:
            raise UsageError(f"hydra.sweeper.sampler: found {sampler!r}, expected one of {', '.join(SAMPLERS)}")
        self.folder, self.sampler, self.seed, self.startup = folder, sampler, seed, startup
        self.space = {key: distribution(override) for key, override in space.items()}
        self.study = _study(folder / STORAGE)
        self._same_as_before(list(asked))

    @property
    def trials(self) -> dict[str, list[str]]:
        """Overrides of every trial, by the name of its folder."""
        whole = (t for t in self.study.get_trials(deepcopy=False) if "overrides" in t.user_attrs)
        return {_name(t.number): list(t.user_attrs["overrides"]) for t in whole}

    @property
    def unfinished(self) -> dict[str, list[str]]:
        """Overrides of the trials without a result, by the name of their folder."""
        results = {_name(t.number) for t in self.study.get_trials(deepcopy=False) if t.state.is_finished()}
        return {name: overrides for name, overrides in self.trials.items() if name not in results}

    def ask(self) -> tuple[str, list[str]]:
        """Return a new trial: the name of its folder, and its overrides.

        The values depend on the seed, the trial's number and the results so far, not on the time at which the command was started.
        """
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False):
            if not trial.state.is_finished() and "overrides" not in trial.user_attrs:
                self.study.tell(trial.number, state=TrialState.FAIL)  # the command was killed while this trial was drawn
        number = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = self._sampler((self.seed * 1_000_003 + number) % MOST_SEEDS)
        asked = self.study.ask(self.space)
        overrides = [f"{key}={asked.params[key]}" for key in self.space]
        asked.set_user_attr("overrides", overrides)
        return _name(asked.number), overrides

    def tell(self, job: Job) -> None:
        """Write the result of a finished trial, its validation loss.

        Raises:
            RunError: the loss is no finite number.
        """
        if not math.isfinite(job.loss):
            raise RunError(f"{self.folder / job.name}: validation loss: found {job.loss}, expected a finite number; remove the folder")
        self.study.tell(_number(job.name), job.loss)

    def best(self) -> str | None:
        """Return the trial with the lowest validation loss; None before one has finished."""
        done = [t for t in self.study.get_trials(deepcopy=False) if t.value is not None]
        return _name(min(done, key=lambda t: (t.value, t.number)).number) if done else None

    def _sampler(self, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        if self.sampler == "random":
            return RandomSampler(seed=seed)
        # concurrent trials keep away from each other
        return TPESampler(seed=seed, n_startup_trials=self.startup, constant_liar=True)

    def _same_as_before(self, asked: list[str]) -> None:
        before = self.study.user_attrs.get("asked")
        if before is None:
            self.study.set_user_attr("asked", asked)
        elif before != asked:
            only = [f"before {o}" for o in before if o not in asked] + [f"now {o}" for o in asked if o not in before]
            raise UsageError(
                f"{self.folder}: holds another search: {'; '.join(only[:6])}; choose another hydra.sweep.dir, or remove the folder"
            )


def require_optuna() -> None:
    """Import Optuna with its messages about every step silenced.

    Raises:
        UsageError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError(f"hparams_search=optuna needs its extra: pip install 'dhmd[optuna]' ({error})") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def write_trials(folder: Path, jobs: Sequence[Job], keys: Collection[str]) -> None:
    """Write trials.csv: a row for each trial, with its state, its validation loss and its values.

    Args:
        folder: folder of the search.
        jobs: the trials.
        keys: keys that are searched over.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["trial", "state", "validation_loss", "epoch", "seconds", *keys, "error"])
    for job in jobs:
        tried = values(job, keys)
        told = [job.loss, _epoch(folder / job.name), job.seconds] if job.state is State.FINISHED else ["", "", ""]
        table.writerow([job.name, job.state.value, *told, *tried.values(), job.error])
    write_text(folder / TABLE, out.getvalue())


def write_best(folder: Path, job: Job, keys: Collection[str], overrides: Sequence[str]) -> None:
    """Write best.yaml: the trial, its validation loss, its values, and the command that trains with them.

    Args:
        folder: folder of the search.
        job: the best trial.
        keys: keys that are searched over.
        overrides: overrides of the command.
    """
    content = {
        "trial": job.name,
        "validation_loss": job.loss,
        "epoch": _epoch(folder / job.name),
        "values": values(job, keys),
        "command": shlex.join(["dhmd", "train", *overrides]),
    }
    write_text(folder / BEST, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1_000_000))


def describe(folder: Path) -> str:
    """Return the text about a finished search: the best trial, and the command to continue with it."""
    best = yaml.safe_load((folder / BEST).read_text(encoding="utf-8"))
    lines = [
        f"best on validation: {best['trial']}, loss {best['validation_loss']:.4f} after epoch {best['epoch']}",
        *(f"  {key}={value}" for key, value in best["values"].items()),
        f"all trials: {folder / TABLE}",
        "train and test it, with further seeds (-m seed=...):",
        f"  {best['command']}",
    ]
    return "\n".join(lines)


def values(job: Job, keys: Collection[str]) -> dict[str, str]:
    """Return the values of a trial by key, as on the command line."""
    tried = {key: value for key, _, value in (o.partition("=") for o in job.overrides)}
    return {key: tried[key] for key in keys}


def _study(file: Path) -> Study:
    import optuna
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import SQLAlchemyError

    url = URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
    try:
        return optuna.create_study(storage=url, study_name="search", direction="minimize", load_if_exists=True)
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        said = str(error).strip().splitlines()[0]
        raise RunError(f"{file}: not readable as an Optuna study ({said}); remove it: the same trials are drawn again") from error


def distribution(override: Override) -> BaseDistribution:
    """Return Optuna's distribution for the values of an override.

    Choices stay text, as on the command line: a choice may be a list or a file of a group.

    Raises:
        UsageError: Optuna has no such distribution.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found = override.value()
    try:
        if isinstance(found, IntervalSweep):
            low, high, log = found.start, found.end, "log" in found.tags
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low), float(high), log=log)  # type: ignore[arg-type]
        if isinstance(found, RangeSweep):
            numbers, log = list(found.range()), "log" in found.tags
            if all(isinstance(n, int) for n in numbers):
                return IntDistribution(int(numbers[0]), int(numbers[-1]), log=log, step=int(found.step))
            return FloatDistribution(float(numbers[0]), float(numbers[-1]), log=log, step=None if log else float(found.step))
        if isinstance(found, ChoiceSweep):  # in the order given, even with shuffle=True: Optuna identifies a choice by its position
            return CategoricalDistribution([Transformer.str(choice) for choice in found.list])
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, TypeError, IndexError) as error:
        raise UsageError(f"{override.input_line}: cannot be searched over: {error}") from error


def _name(number: int) -> str:
    return f"trial-{number:04}"


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _epoch(run: Path) -> Any:
    return RunFolder(run).metrics()["selection"]["epoch"]
