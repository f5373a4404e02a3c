"""Configurations: the folder of conf/, the guarded `instantiate`, and messages about mistakes in a composed configuration.

Hydra composes; this module decides what a config may build. Only the names in `TARGETS`, and those of the extensions that the user has
named (`dhmd.extensions`), can be called from a config, by their exact spelling: a config file from somebody else cannot run anything
else. Hydra's own ``instantiate`` is not used: it turns the dataclasses handed to it into configs, and from Hydra 1.4 on wants an
allow-list of its own.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

import dhmd
from dhmd.errors import UsageError
from dhmd.extensions import VARIABLE, definitions

TARGETS = frozenset(
    {
        "dhmd.data.module.FeatureDataModule",
        "dhmd.nn.text.GivenFeatures",
        "dhmd.nn.text.TextEncoder",
        "dhmd.nn.text.bert_of_sizes",
        "dhmd.nn.text.minilm",
        "dhmd.tracking.logger.QuietWandbLogger",
        "dhmd.training.accumulation.MeanAccumulation",
        "dhmd.training.accumulation.SumAccumulation",
        "dhmd.training.callbacks.EpochLine",
        "dhmd.training.checkpoints.Checkpoints",
        "dhmd.training.optimisation.Optimisation",
        "dhmd.training.schedules.warmup_cosine",
        "dhmd.training.schedules.warmup_linear",
        "dhmd.training.steps.AlternatingStep",
        "dhmd.training.steps.SingleStep",
        "dhmd.training.validation_loss.RoundedBatchMean",
        "dhmd.training.validation_loss.SampleMean",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.callbacks.LearningRateMonitor",
        "pytorch_lightning.callbacks.RichProgressBar",
        "pytorch_lightning.callbacks.TQDMProgressBar",
        "pytorch_lightning.callbacks.Timer",
        "pytorch_lightning.loggers.CSVLogger",
        "pytorch_lightning.loggers.TensorBoardLogger",
        "pytorch_lightning.loggers.WandbLogger",
        "pytorch_lightning.strategies.DDPStrategy",
        "torch.optim.Adam",
        "torch.optim.AdamW",
        "torch.optim.SGD",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        "torch.optim.lr_scheduler.ExponentialLR",
        "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "torch.optim.lr_scheduler.StepLR",
    }
)
"""Exact names of everything in the suite's data and training, in Lightning and in torch that a config may build."""

OPEN_PACKAGES = ("dhmd.models", "dhmd.baselines", "dhmd.losses")
"""Packages of the suite whose public classes and functions a config may build, each by the name of its module or of the package."""


def conf_dir() -> Path:
    """Return the folder of config files: ``dhmd/conf`` inside an installed wheel, else ``conf/`` of the repository.

    Raises:
        UsageError: neither folder exists (a broken installation).
    """
    package = Path(dhmd.__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UsageError(f"the configuration folder is missing: expected {package / 'conf'}; install dhmd again")


def instantiate(config: Any, key: str = "", /, context: Mapping[str, Any] = MappingProxyType({}), **extra: Any) -> Any:
    """Build what a config describes: a mapping with ``_target_`` becomes a call, nested ones first.

    Args:
        config: a config node or plain value; ``_partial_: true`` beside ``_target_`` gives the callable with its arguments bound.
        key: position of the config in the whole configuration, for messages.
        context: objects by name for every call, nested ones too, whose target has a parameter of that name and is not given it.
        **extra: further arguments of the outermost call, passed as they are (networks, specs); they win over the config's.

    Returns:
        The object built; None, numbers, strings, lists and mappings without ``_target_`` come back plain.

    Raises:
        UsageError: a target is refused, an interpolation or mandatory value is missing, or the target refuses its arguments.
    """
    plain = to_plain(config) if isinstance(config, DictConfig | ListConfig) else config
    return _build(plain, extra, key, context)


def to_plain(config: DictConfig | ListConfig) -> Any:
    """Return the config resolved to plain dicts, lists and values.

    Raises:
        UsageError: an interpolation points nowhere or a mandatory value (``???``) is not given.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UsageError(f"{error.full_key} is not set; give it on the command line: {error.full_key}=VALUE") from error
    except InterpolationKeyError as error:
        raise UsageError(f"{error.full_key}: {error.msg}; check the key named between ${{ and }}") from error
    except OmegaConfBaseException as error:
        raise UsageError(f"the configuration cannot be resolved: {error}") from error


def closest(word: str, known: Iterable[str], n: int = 3) -> str:
    """Return a half-sentence with the known words nearest to ``word``; empty when none is near."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=n, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _build(node: Any, extra: Mapping[str, Any], path: str, context: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_build(value, {}, f"{path}[{i}]", context) for i, value in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        if extra:
            raise UsageError(f"{path or 'the configuration'}: expected a _target_ to build, found the keys {sorted(node)}")
        return {key: _build(value, {}, f"{path}.{key}".lstrip("."), context) for key, value in node.items()}
    name = node["_target_"]
    arguments = {
        key: _build(value, {}, f"{path}.{key}".lstrip("."), context)
        for key, value in node.items()
        if key not in ("_target_", "_partial_", *extra)
    }
    target = _locate(name, path)
    asked = inspect.signature(target).parameters
    extra = {**{key: value for key, value in context.items() if key in asked and key not in arguments}, **extra}
    _check_arguments(target, name, {**arguments, **extra}, whole=not node.get("_partial_", False))
    _check_values(target, path, {key: value for key, value in node.items() if key in arguments})
    build = partial(target, **arguments, **extra)
    if node.get("_partial_", False):
        return build
    try:
        return build()
    except ModuleNotFoundError as error:
        raise UsageError(f"{path or name}: needs a package that is not installed ({error})") from error
    except ValueError as error:  # the packages below raise no UsageError; a value refused at construction came from the config
        raise UsageError(f"{path or name}: {error}") from error


def _locate(name: Any, path: str) -> Any:
    if name in TARGETS:
        module, _, attribute = name.rpartition(".")
        return getattr(import_module(module), attribute)
    if (found := _public(str(name))) is not None:
        return found
    own = dict(definitions())
    if name in own:
        return own[name]
    where = f" at {path}" if path else ""
    raise UsageError(
        f"_target_ {name!r}{where} is refused: a configuration may only build what dhmd.config.TARGETS lists, public classes and functions "
        f"of {', '.join(OPEN_PACKAGES)}, and what the extensions named in {VARIABLE} define{closest(str(name), {*TARGETS, *own}, 1)}"
    )


def _public(name: str) -> Any:
    """Return the public class or function of this name in one of `OPEN_PACKAGES`; None if there is none.

    A class is found by the name of its module or of the package. Only what the package itself defines is handed out.
    """
    module, _, attribute = name.rpartition(".")
    package = next((p for p in OPEN_PACKAGES if module == p or module.startswith(f"{p}.")), None)
    if package is None or not all(part.isidentifier() and not part.startswith("_") for part in name.split(".")):
        return None
    try:
        found = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        return None
    if found is None and module == package:
        own = (f"{package}.{info.name}" for info in iter_modules(import_module(package).__path__) if not info.name.startswith("_"))
        found = next((x for x in (getattr(import_module(one), attribute, None) for one in own) if x is not None), None)
    ours = str(getattr(found, "__module__", "")).startswith(f"{package}.")
    return found if ours and (inspect.isclass(found) or inspect.isfunction(found)) else None


def _check_arguments(target: Any, name: str, arguments: Mapping[str, Any], whole: bool) -> None:
    """Raise a UsageError in place of the TypeError that Python would raise for these arguments."""
    signature = inspect.signature(target)
    try:
        (signature.bind if whole else signature.bind_partial)(**arguments)
    except TypeError as error:
        known = [key for key in signature.parameters if key not in arguments]
        unknown = next((key for key in arguments if key not in signature.parameters), None)
        hint = closest(unknown, known) if unknown else ""
        raise UsageError(f"{name}: {error}{hint}") from error


def _check_values(target: Any, path: str, values: Mapping[str, Any]) -> None:
    """Refuse plain values of a type that the target does not declare."""
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):  # hints that exist for type checkers only
        return
    for key, value in values.items():
        hint = hints.get(key, Any)
        if isinstance(value, str | int | float) and not _allows(hint, value):
            where = f"{path}.{key}".lstrip(".")
            raise UsageError(f"{where}: found {value!r}, expected {_spell(hint)}")


def _allows(hint: Any, value: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_allows(option, value) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    if origin in (Mapping, Sequence, dict, list, tuple):
        return isinstance(value, str) and origin is Sequence
    return True


def _spell(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return " or ".join(_spell(option) for option in get_args(hint))
    if origin is Literal:
        return " or ".join(map(str, get_args(hint)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(hint, str(getattr(hint, "__name__", hint)))
