"""``trainer.replicas=K``: what it takes for runs to train at once, and which runs can be."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from dhmd.errors import UsageError

OPTIONS = ("replicas", "beside")
"""Options under ``trainer`` that say how a run is computed, and that Lightning's Trainer knows nothing of."""
OF_EACH = ("convention", "data", "text_encoder", "model", "objective", "trainer")
"""The parts of a configuration that runs of one program have in common,"""
MAY_DIFFER = ("data.seed", "data.fold", "objective.weights", "trainer.max_epochs", "trainer.min_epochs", "trainer.max_time")
"""but for these."""
LOOKED_AT = (*OF_EACH, "optimisation")
"""The parts that `make_of` and `replicas_of` look at."""


def without_replicas(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The options of Lightning's Trainer."""
    return {key: value for key, value in trainer.items() if key not in OPTIONS}


def replicas_of(config: Mapping[str, Any]) -> int:
    """How many runs the configuration wants at once.

    Raises:
        UsageError: it is no such number, or the runs cannot train at once.
    """
    trainer, encoder = config.get("trainer") or {}, config.get("text_encoder") or {}
    count = trainer.get("replicas", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UsageError(f"trainer.replicas: found {count!r}; expected how many runs train at once, 1 or more")
    if count == 1:
        return count
    if trainer.get("devices", 1) not in (1, "1") or trainer.get("num_nodes", 1) != 1 or "ddp" in str(trainer.get("strategy", "")):
        raise UsageError(
            f"trainer.replicas={count}: replicas train in one process on one device; leave trainer.devices at 1, "
            "or set trainer.replicas=1 and share the jobs of a sweep among GPUs (launcher=process hydra.launcher.gpus=[0,1])"
        )
    if "WANDB_SWEEP_ID" in os.environ:
        raise UsageError(f"trainer.replicas={count}: a W&B agent hands out one run at a time; leave it at 1")
    if "frozen" in encoder and not encoder["frozen"]:
        raise UsageError(
            f"trainer.replicas={count}: a text encoder that is trained makes up nearly all of a step, and replicas save nothing; "
            "set text_encoder.frozen=true, or trainer.replicas=1"
        )
    return count


def make_of(config: Mapping[str, Any]) -> str:
    """Equal for configurations whose runs can be one program: they differ in seeds, weights of losses and how they are optimised."""
    shared = {}
    for part in OF_EACH:
        node = config.get(part)
        shared[part] = {k: v for k, v in node.items() if f"{part}.{k}" not in MAY_DIFFER} if isinstance(node, Mapping) else node
    shared["trainer"] = without_replicas(shared["trainer"] or {})
    if (config.get("optimisation") or {}).get("weight_decay"):
        # it shrinks what has a gradient of zero and leaves what has none; what no term of one run reads, one of another's may
        weights = (config.get("objective") or {}).get("weights") or {}
        shared["terms"] = sorted(name for name, weight in weights.items() if weight)
    return json.dumps(shared, sort_keys=True, default=str)


def sets_of(configs: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Jobs, by name, in sets that train at once; a set is no larger than what its configurations say.

    Raises:
        UsageError: see `replicas_of`.
    """
    sets: list[list[str]] = []
    open_sets: dict[tuple[int, str], list[str]] = {}
    for name, config in configs.items():
        kind = count, _ = replicas_of(config), make_of(config)
        if len(open_sets.get(kind, [])) in (0, count):  # none yet, or full
            open_sets[kind] = []
            sets.append(open_sets[kind])
        open_sets[kind].append(name)
    return sets
