"""Every file of conf/ablation takes away what it names and nothing else, and what remains still trains."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dhmd.app import compose
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.config import conf_dir, to_plain
from dhmd.nn.text import GivenFeatures
from dhmd.training.build import build_module

NAMES = sorted(p.stem for p in (conf_dir() / "ablation").glob("*.yaml"))
TINY = ["model.width=8", "model.heads=2", "model.layers=1", "model.kernels=3"]
SPEC = FeatureSpec(
    dims={"language": 6, "vision": 5, "acoustic": 4}, lengths=dict.fromkeys(("language", "vision", "acoustic"), 7), aligned=True
)


def flat(node, path=""):
    if isinstance(node, dict) and node:
        return {k: v for key, value in node.items() for k, v in flat(value, f"{path}.{key}".lstrip(".")).items()}
    return {path: node}


def composed(*overrides):
    config = to_plain(compose(["run_dir=x", *overrides]))
    del config["labels"]
    return flat(config)


BEFORE = cache(lambda experiment, path: composed(f"experiment={experiment}", path))


@pytest.mark.parametrize("experiment", ["demo", "repro/dhmd_mosi_aligned"])
@pytest.mark.parametrize("name", NAMES)
def test_it_changes_what_it_names_and_nothing_else(name, experiment):
    path = "data.path=/x" if "repro" in experiment else "data.name=demo"
    before, after = BEFORE(experiment, path), composed(f"experiment={experiment}", path, f"ablation={name}")
    changed = {k for k in {*before, *after} if before.get(k, "absent") != after.get(k, "absent")}
    written = flat(yaml.safe_load((conf_dir() / "ablation" / f"{name}.yaml").read_text()) or {})
    named = set(written) - {""}
    if name.startswith("entries_"):  # one of the sizes may be the experiment's own
        assert changed <= named
    else:
        assert bool(changed) == (name != "full")
    assert all(any(k == n or k.startswith(f"{n}.") for n in named) for k in changed)
    resolved = {k: v for k, v in written.items() if k and "${" not in str(v)}
    assert {k: after[k] for k in resolved} == resolved


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_remains_trains(name):
    torch.manual_seed(0)
    config = to_plain(compose(["run_dir=x", *TINY, f"ablation={name}"]))
    module = build_module(config, GivenFeatures(), SPEC)
    rng = np.random.default_rng(0)
    label = torch.linspace(-3, 3, 6)
    batch = FeatureBatch.from_arrays(**{m: rng.normal(size=(6, 7, d)) for m, d in SPEC.dims.items()}, label=label)
    terms = module.objective(module.network(batch), batch)
    terms["total"].backward()
    assert torch.isfinite(terms["total"])
    module.optimisation.optimizer(module.network.parameter_groups()).step()
    without = {
        "no_gd": "homogeneous_logit",
        "no_homo_gd": "homogeneous_logit",
        "no_hetero_gd": "heterogeneous_logit",
        "no_dictionary": "homogeneous_matching",
        "no_homo_dictionary": "homogeneous_matching",
        "no_hetero_dictionary": "heterogeneous_matching",
        "no_decoupling": "reconstruction",
    }
    assert (without.get(name, "task_fused") in terms) == (name not in without)


def test_every_file_says_what_it_is():
    for name in NAMES:
        first, second = (Path(conf_dir()) / "ablation" / f"{name}.yaml").read_text().splitlines()[:2]
        assert first == "# @package _global_"
        assert second.startswith("# ")
        assert second.endswith(".")
