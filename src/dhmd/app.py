"""The Hydra application ``dhmd train``: overrides, flags, multirun, shell completion, and errors worded for users."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dhmd.config import closest, conf_dir
from dhmd.config_guard import guarded_composition
from dhmd.errors import DhmdError, RunError, UsageError
from dhmd.runs.upgrade import old_key_message
from dhmd.sweeps.naming import quoted

WITH_VALUE = frozenset(
    {"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--info", "-i"}
)
VERBS = (
    *("train", "evaluate", "predict", "export", "import-dmd", "show", "analyse", "probe"),
    *("report", "results", "sweep", "sync", "reproduce", "data"),
)
RESUMED = "resumed"
"""Name of the primary configuration when a run is continued: its own."""
_typed: list[str] = []
_begun = False  # True once Hydra has made a job's folder and called the job
_failed: DhmdError | None = None  # the error of a single job; raised through Hydra it would follow a line about overrides


def train_command(arguments: Sequence[str]) -> int:
    """Run ``dhmd train`` with Hydra's overrides and flags.

    Raises:
        UsageError: the configuration cannot be composed.
        DhmdError: the job failed; this is the job's own error.
    """
    _run(_flags_last(_resumed(list(arguments))))
    return 0


def complete(arguments: Sequence[str]) -> int:
    """Install, uninstall or answer shell completion, as Hydra's flag ``-sc`` does.

    The verb is removed from the line to complete.
    """
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if words and (len(words) == 1 or (len(words) == 2 and not line.endswith(" "))):
        print(" ".join(verb for verb in VERBS if len(words) == 1 or verb.startswith(words[1])))
    elif not words or words[1] == "train":
        if words:
            os.environ["COMP_LINE"] = re.sub(r"^(\s*\S+)\s+train\b", r"\1", line)
        _run(arguments)
    return 0


def compose(overrides: Sequence[str] = (), config_dir: Path | None = None) -> DictConfig:
    """Return the configuration of ``dhmd train OVERRIDES``, for use from Python; give ``run_dir=...`` among the overrides.

    Args:
        overrides: as on the command line.
        config_dir: a further folder of configs, searched first.

    Raises:
        UsageError: an override or a file it names is wrong.
    """
    path = [f"hydra.searchpath=[file://{config_dir.resolve()}]"] if config_dir else []
    with _user_errors(overrides), guarded_composition(), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", [*overrides, *path], return_hydra_config=True)
    choices = cfg.hydra.runtime.choices
    OmegaConf.set_struct(cfg, False)
    for name in set(cfg.labels) - {"data"}:
        if OmegaConf.is_interpolation(cfg.labels, name):  # the values of ${hydra:...} inside `dhmd train`
            cfg.labels[name] = choices.get(name)
    del cfg["hydra"]
    return cfg


def _job(cfg: DictConfig) -> float:
    """Run one job; Hydra calls this once a job, and the best validation loss is returned to a sweeper."""
    from dhmd.runs.folder import RunFolder
    from dhmd.training.show import print_run
    from dhmd.training.train import sweeping, train

    global _begun, _failed
    _begun = True
    sys.argv = _typed or sys.argv  # Lightning starts further processes with the command line as typed
    if sweeping():
        cfg.resume = True  # the same command, given again, resumes an interrupted run
    try:
        result = train(cfg)
    except KeyboardInterrupt:
        if RunFolder(Path(cfg.run_dir)).started and not sweeping():
            print(f"\ncontinue with `dhmd train resume={cfg.run_dir}`", file=sys.stderr)
        raise
    except Exception as error:
        if sweeping():
            RunFolder(Path(cfg.run_dir)).fail(str(error) if isinstance(error, DhmdError) else f"{type(error).__name__}: {error}")
        if sweeping() or not isinstance(error, DhmdError):
            raise
        _failed = error
        return math.nan
    if result.main:
        print_run(result.run_dir)
    return result.score


def _run(arguments: Sequence[str]) -> None:
    global _typed, _begun, _failed
    _typed, _begun, _failed = sys.argv, False, None
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised here instead of being printed by Hydra
    sys.argv = ["dhmd", *arguments]  # Hydra reads this name and calls the completion by it
    try:
        with _user_errors(arguments), guarded_composition():
            hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")(_job)()
        if _failed is not None:
            raise _failed
    finally:
        sys.argv, _typed = _typed, []
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before


def _flags_last(arguments: Sequence[str]) -> list[str]:
    """Put overrides first, then flags with their values: Hydra's parser does not accept overrides on both sides of a flag."""
    overrides: list[str] = []
    flags: list[str] = []
    wants_value = False
    for argument in arguments:
        if argument.startswith("-") or (wants_value and "=" not in argument):  # the value of --info is optional
            flags.append(argument)
            wants_value = argument in WITH_VALUE
        else:
            overrides.append(argument)
    return overrides + flags


def _resumed(arguments: list[str]) -> list[str]:
    """Compose the configuration of ``resume=RUN`` from the run's own, in today's form, to continue in the run's folder."""
    from dhmd.runs.folder import RunFolder

    for i, argument in enumerate(arguments):
        key, _, value = argument.partition("=")
        if key == "resume" and value.lower() not in ("true", "false"):
            if {"-m", "--multirun"} & set(arguments):
                raise UsageError(f"resume={value}: one run is continued, without -m; a sweep goes on by its own command")
            run = RunFolder(Path(value).absolute())
            if not run.started:
                raise UsageError(f"resume={value}: not a run folder; expected config.yaml in it")
            config = run.config()
            if "hydra" in config:
                raise RunError(f"{run.config_file}: not the configuration of a run; expected a mapping of ours without a key 'hydra'")
            ConfigStore.instance().store(RESUMED, config, provider="dhmd")
            own = [f"--config-name={RESUMED}", "resume=true", f"hydra.run.dir={quoted(run.path)}"]
            arguments[i : i + 1] = [*own, "hydra.job.name=train", "hydra/job_logging=stdout", "hydra.output_subdir=null"]
    return arguments


@contextmanager
def _user_errors(arguments: Sequence[str]) -> Iterator[None]:
    """Turn Hydra's errors about a wrong command line into a UsageError that suggests the nearest names."""
    try:
        yield
    except DhmdError:
        raise
    except MissingConfigException as error:
        found = (error.missing_cfg_file or "").rpartition("/")[2]
        options = [str(option) for option in (error.options or []) if not str(option).startswith("_")]  # bases of others
        raise UsageError(f"{_first_line(error)}{closest(found, options)}{_listing(options)}") from error
    except OSError as error:
        if _begun:
            raise
        instead = "choose another hydra.run.dir (of a sweep: hydra.sweep.dir)"
        raise UsageError(f"{error.filename}: cannot make the run folder ({error.strerror}); {instead}") from error
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__
        if isinstance(cause, DhmdError):  # errors that the suite's sweepers and launchers raise about their options
            raise cause from error
        if said := old_key_message(_refused_key(str(error)), arguments):
            raise UsageError(said) from error
        detail = f" ({_first_line(cause)})" if isinstance(cause, OmegaConfBaseException) else ""
        raise UsageError(f"{_first_line(error)}{detail}{_near_override(str(error))}") from error


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _listing(options: Sequence[str]) -> str:
    return f"\navailable: {', '.join(options)}" if options else ""


def _near_override(message: str) -> str:
    """Return the keys and groups nearest to the one that Hydra could not override."""
    key = _refused_key(message).partition("@")[0]
    if not key:
        return ""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train")
    keys, groups = _keys(cfg), [p.name for p in conf_dir().iterdir() if p.is_dir()]
    return closest(key, [*keys, *groups]) or closest(key.rpartition(".")[2], [k for k in keys if k.rpartition(".")[2]])


def _refused_key(message: str) -> str:
    """Return the key that Hydra could not override; empty for any other message."""
    named = re.search(r"[Cc]ould not (?:override|append|delete)[^']*'([^']+)'", message)
    return named[1] if named else ""


def _keys(cfg: DictConfig, path: str = "") -> list[str]:
    found: list[str] = []
    for key in map(str, cfg):
        name = f"{path}.{key}".lstrip(".")
        found.append(name)
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none():
            found += _keys(node, name)
    return found
