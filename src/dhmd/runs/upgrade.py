"""Keys of earlier versions: refused on the command line, rewritten in the configurations and checkpoints of runs.

A configuration is brought into today's form by `RULES`, one function a group, a checkpoint by `CHECKPOINT_RULES`. Where a value only has
another place now, `MOVED` is read by the rule and by the message that a user gets for the old key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from dhmd.errors import RunError, UsageError

Config = dict[str, Any]

_SEEDS = "was removed; seeds run side by side with `dhmd train -m seed=1111,1112,... launcher=process hydra.launcher.n=N`"
REMOVED: Mapping[str, tuple[Any, str]] = {"trainer.replicas": (1, _SEEDS), "trainer.beside": (None, _SEEDS)}
"""By key, the one value that earlier runs recorded, and a message for any other."""

_MATCHING = ("objective.terms.homogeneous_matching", "objective.terms.heterogeneous_matching")
MOVED: Mapping[str, tuple[str, ...]] = {
    "sizes": ("scale",),
    "optimisation.weight_decay": ("optimisation.optimizer.weight_decay",),
    "optimisation.factor": ("optimisation.scheduler.factor",),
    "optimisation.patience": ("optimisation.scheduler.patience",),
    "objective.margin": ("objective.terms.margin.margin", *(f"{term}.margin" for term in _MATCHING)),
    "objective.orthogonality_axis": ("objective.terms.orthogonality.axis",),
    "objective.heterogeneous_representation": ("objective.terms.heterogeneous_representation.kind",),
    "objective.matching": tuple(f"{term}.loss" for term in _MATCHING),
}
"""By earlier key, every key that has its value now."""

TARGETS: Mapping[str, str] = {"dhmd.training.progress.EpochLine": "dhmd.training.callbacks.EpochLine"}
"""By earlier ``_target_``, its name now."""

OPTIMISATION: Config = {
    "group_weight_decay": {},
    "no_decay": False,
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "weight_decay": 0.0, "fused": True},
    "scheduler": {
        "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "_partial_": True,
        "mode": "min",
        "factor": 0.5,
        "patience": 5,
    },
    "interval": "epoch",
}
"""Keys of the optimisation that earlier versions did not have; moved ones have their earlier defaults."""


def _term(name: str, **options: Any) -> Config:
    return {"_target_": f"dhmd.losses.{name}", **options}


def _distillation(space: str, representation: str) -> Config:
    return {
        f"{space}_logit": _term("LogitDistillation", space=space),
        f"{space}_regularity": _term("Regularity", space=space),
        f"{space}_representation": _term("RepresentationDistillation", space=space, kind=representation),
        f"{space}_matching": _term("Matching", space=space, loss="hinge", margin=0.15),
    }


OBJECTIVE = _term("Objective")
TASK = _term("TaskLoss", regression="l1", class_weights=None, label_smoothing=0.0)
TERMS: Config = {
    "task_fused": _term("PredictionLoss"),
    "task_shared": _term("SharedLoss"),
    "task_homogeneous": _term("UnimodalLoss", space="homogeneous"),
    "task_heterogeneous": _term("UnimodalLoss", space="heterogeneous"),
    "reconstruction": _term("Reconstruction"),
    "cycle": _term("Cycle"),
    "orthogonality": _term("Orthogonality", axis="features"),
    "margin": _term("Margin", margin=0.15),
    **_distillation("homogeneous", "imitate"),
    **_distillation("heterogeneous", "repel"),
}
"""The terms that the objective always had, in the order of its sum; the moved options have their earlier defaults."""

ADDED: Config = {
    "evaluate_test": True,
    "step": {"_target_": "dhmd.training.steps.SingleStep"},
    "trainer.max_steps": -1,
    "trainer.max_time": None,
}
"""By dotted key, what a configuration without it meant."""
TEXT_ENCODERS = ("dhmd.nn.text.TextEncoder", "dhmd.nn.text.minilm")
"""Targets that have gained ``frozen_layers``."""


def upgraded_config(config: Mapping[str, Any]) -> Config:
    """Return a recorded configuration in today's form; one of today comes back equal.

    Raises:
        UsageError: a removed key has another value than earlier runs recorded.
    """
    found = dict(config)
    for rule in RULES:
        found = rule(found)
    return found


def check_rebuilds(config: Mapping[str, Any]) -> None:
    """See that the run of a configuration, as it was recorded, can be built by this version.

    Raises:
        RunError: it has a term of the user's own in the earlier form.
    """
    objective = config.get("objective")
    if _is_old_objective(objective) and (own := list(objective.get("terms") or {})):  # type: ignore[union-attr]
        raise RunError(
            f"objective.terms.{own[0]}: recorded by an earlier version, in which a term was a function of outputs and label; it is one of "
            "outputs and batch now, so the run cannot be rebuilt, though its record can be read; rewrite the term and train the run again"
        )


def refuse_old_keys(config: Mapping[str, Any]) -> Config:
    """Return a composed configuration without the keys in `REMOVED`.

    Raises:
        UsageError: a removed key has another value than earlier runs recorded, or a moved key stands beside the one that took its place.
    """
    for key, places in MOVED.items():
        if _has(config, key) and _has(config, places[0]):
            raise UsageError(old_key_message(key))
    return _without_removed(dict(config))


def old_key_message(key: str, typed: Sequence[str] = ()) -> str:
    """Return what to tell a user who gave a key of an earlier version; empty for any other key.

    Args:
        key: dotted, or a group.
        typed: the overrides, which may have its value.
    """
    if key in REMOVED:
        return f"{key} {REMOVED[key][1]}"
    if key not in MOVED:
        return ""
    given = [o.partition("=")[2] for o in typed if o.lstrip("+").partition("=")[0] == key and "=" in o]
    instead = f": {' '.join(f'{place}={given[-1]}' for place in MOVED[key])}" if given else ""
    return f"{key} is now {' and '.join(MOVED[key])}{instead}"


def upgraded_checkpoint(checkpoint: Mapping[str, Any], *, resume: bool = False) -> dict[str, Any]:
    """Return a checkpoint of ours in today's form.

    Args:
        checkpoint: as loaded.
        resume: whether training is to go on from it.

    Raises:
        RunError: training cannot go on from it.
    """
    if resume and OLD_SCALE in checkpoint["state_dict"]:
        raise RunError(
            "trained by an earlier version with one scale of InfoNCE for both spaces, where each has its own now: the optimizer's state "
            "does not fit, so the run cannot be resumed, though it can be evaluated; train it again in another hydra.run.dir"
        )
    found = dict(checkpoint)
    for rule in CHECKPOINT_RULES:
        found = rule(found)
    return found


# configurations -------------------------------------------------------------------------------------------------------


def _without_removed(config: Config) -> Config:
    for key, (recorded, _) in REMOVED.items():
        group, _, name = key.partition(".")
        if not _has(config, key):
            continue
        if config[group][name] != recorded or isinstance(config[group][name], bool):
            raise UsageError(f"{key}: found {config[group][name]!r}, but the key {REMOVED[key][1]}")
        config = {**config, group: {k: v for k, v in config[group].items() if k != name}}
    return config


def _optimisation(config: Config) -> Config:
    old = config.get("optimisation")
    if not isinstance(old, Mapping) or "optimizer" in old or not any(_has(config, key) for key in MOVED if key.startswith("optimisation.")):
        return config
    kept = {key: value for key, value in old.items() if f"optimisation.{key}" not in MOVED}
    if isinstance(kept.get("accumulation"), Mapping):
        kept["accumulation"] = {**kept["accumulation"], "clip_norm": None}
    return {**config, "optimisation": _with_moved_values({**kept, **deepcopy(OPTIMISATION)}, old, "optimisation")}


def _objective(config: Config) -> Config:
    old = config.get("objective")
    if not _is_old_objective(old):
        return config
    terms = {**deepcopy(TERMS), **(old.get("terms") or {})}  # type: ignore[union-attr]
    weights = {**(old.get("weights") or {})}  # type: ignore[union-attr]
    weights |= {name: 0.0 for name in terms if name not in weights}
    new = {**OBJECTIVE, "task": dict(TASK), "weights": weights, "terms": terms}
    return {**config, "objective": _with_moved_values(new, old, "objective")}  # type: ignore[arg-type]


def _is_old_objective(node: Any) -> bool:
    return isinstance(node, Mapping) and node.get("_target_") == OBJECTIVE["_target_"] and "task" not in node


def _added(config: Config) -> Config:
    for key, value in ADDED.items():
        group, _, name = key.rpartition(".")
        if not group:
            config = {key: deepcopy(value), **config}
        elif isinstance(config.get(group), Mapping):
            config = {**config, group: {name: deepcopy(value), **config[group]}}
    return config


def _text_encoder(config: Config) -> Config:
    node = config.get("text_encoder")
    if not isinstance(node, Mapping) or node.get("_target_") not in TEXT_ENCODERS:
        return config
    return {**config, "text_encoder": {"frozen_layers": 0, **node}}


def _targets(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: TARGETS.get(value, value) if key == "_target_" else _targets(value) for key, value in node.items()}
    return [_targets(value) for value in node] if isinstance(node, list) else node


RULES: tuple[Callable[[Config], Config], ...] = (_without_removed, _optimisation, _objective, _added, _text_encoder, _targets)


def _with_moved_values(new: Config, old: Mapping[str, Any], group: str) -> Config:
    """Put the values of an earlier group where `MOVED` says; ``new`` is changed."""
    for key, places in MOVED.items():
        parent, _, name = key.partition(".")
        if parent == group and name in old:
            for place in places:
                *path, last = place.split(".")[1:]
                node = new
                for part in path:
                    node = node[part]
                node[last] = old[name]
    return new


def _has(config: Mapping[str, Any], key: str) -> bool:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


# checkpoints ----------------------------------------------------------------------------------------------------------

OLD_SCALE = "objective.log_scale"
"""Key of the scale of InfoNCE when both spaces shared one."""


def _means(checkpoint: Config) -> Config:
    """The number of samples in an epoch's means so far: once one for all, now by name."""
    training = checkpoint.get("training") or {}
    means = training.get("means") or {}
    if not isinstance(means.get("samples"), int):
        return checkpoint
    means = {**means, "samples": dict.fromkeys(means["sums"], means["samples"])}
    return {**checkpoint, "training": {**training, "means": means}}


def _matching_scales(checkpoint: Config) -> Config:
    weights = checkpoint["state_dict"]
    if OLD_SCALE not in weights:
        return checkpoint
    kept = {key: value for key, value in weights.items() if key != OLD_SCALE}
    scales = {f"{term}.log_scale".replace(".terms.", ".term_modules."): weights[OLD_SCALE].clone() for term in _MATCHING}
    return {**checkpoint, "state_dict": {**kept, **scales}}


CHECKPOINT_RULES: tuple[Callable[[Config], Config], ...] = (_means, _matching_scales)
