"""Objectives as conf/objective describes them, for networks of any size."""

from copy import deepcopy
from functools import cache

from dhmd.app import compose
from dhmd.config import to_plain
from dhmd.training.build import build_objective


@cache
def _composed(*overrides):
    return to_plain(compose(["run_dir=unused", *overrides]))["objective"]


def objective_of(spec, *overrides, network=None, weights=None):
    """The objective with further overrides; with ``weights``, of the terms that these name alone."""
    config = deepcopy(_composed(*overrides))
    if weights is not None:
        config |= {"weights": weights, "terms": {name: config["terms"][name] for name in weights}}
    return build_objective(config, spec, network)
