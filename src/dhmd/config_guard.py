"""A guard on Hydra: everything that Hydra itself would build from a composed configuration is refused unless it is Hydra's own.

A config file from somebody else can set ``hydra.callbacks`` or a logging handler, and Hydra calls what they name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl  # every composition passes here, each job's of a sweep too
from omegaconf import DictConfig, OmegaConf

from dhmd.config import conf_dir
from dhmd.errors import UsageError

CALLED = ("_target_", "class", "()", "factory")
PLUGINS = {
    "hydra.launcher": {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra_plugins.dhmd_sweeps.process_launcher.ProcessLauncher",
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
    },
    "hydra.sweeper": {
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.dhmd_sweeps.optuna_sweeper.OptunaSweeper",
        "hydra_plugins.dhmd_sweeps.sweeper.Sweeper",
    },
}
"""Allowed values of ``_target_`` and the keys they are allowed at; a target must match exactly, not only by its beginning."""
LOGGING = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler", "logging.Formatter", "colorlog.ColoredFormatter")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")


@contextmanager
def guarded_composition() -> Iterator[None]:
    """Refuse, inside the block, every configuration whose ``hydra`` part names foreign code.

    Raises:
        UsageError: from within a composition; also where Hydra says ValueError, as for ``experiment=null``.
    """
    load = ConfigLoaderImpl.load_configuration

    def checked(self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], *args: Any, **kwargs: Any) -> DictConfig:
        try:
            cfg = load(self, config_name, overrides, *args, **kwargs)
        except ValueError as error:
            said = str(error).strip().splitlines()[0]
            raise UsageError(_of_null(overrides) or f"the configuration cannot be composed: {said}") from error
        refuse_foreign(OmegaConf.to_container(cfg.hydra, resolve=False), "hydra")
        return cfg

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]


def _of_null(overrides: Sequence[str]) -> str:
    """Return the message about a group that is set to null, which Hydra accepts in files only and does not name."""
    for override in overrides:
        group, _, value = override.lstrip("+").partition("=")
        files = sorted((conf_dir() / group.partition("@")[0]).glob("*.yaml")) if value.strip().lower() == "null" else []
        if files:
            names = [file.stem for file in files]
            none = f"{group}=full for nothing taken away" if group == "ablation" else f"leave {group} out for what it is by itself"
            return f"{override}: expected one of {', '.join(names)}; {none}"
    return ""


def refuse_foreign(node: Any, path: str) -> None:
    """Raise an error if a configuration names foreign code that Hydra would call or import.

    Raises:
        UsageError: a target belongs neither to Hydra nor to the logging library.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            allowed = PLUGINS.get(path, ()) if key == "_target_" else LOGGING
            if key in CALLED and isinstance(value, str) and value not in allowed:
                raise UsageError(f"{path}.{key}: {value!r} is refused: a configuration may not name code to run")
            refuse_foreign(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            refuse_foreign(value, f"{path}[{i}]")
    elif isinstance(node, str) and "ext://" in node and node not in STREAMS:
        raise UsageError(f"{path}: {node!r} is refused: a configuration may not import code")
