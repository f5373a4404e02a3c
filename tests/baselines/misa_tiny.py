"""MISA at small sizes: batches, networks, and networks with their objectives from presets."""

from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf

from dhmd.baselines.misa import Misa
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.losses.objective import Objective
from dhmd.losses.task import PredictionLoss, TaskLoss
from dhmd.outputs import map_samples

CONF = Path(__file__).parents[2] / "conf"
DIMS = {"language": 8, "vision": 4, "acoustic": 3}
SMALL = {"hidden": 6, "feedforward": 10}
STILL = {"dropout": 0.0, "attention_dropout": 0.0}
REAL = {"language": (7, 2, 5, 1), "vision": (4, 9, 6, 2), "acoustic": (11, 3, 1, 8)}


def spec(dims=DIMS, **options):
    return FeatureSpec(dims, {m: 12 for m in dims}, aligned=False, **options)


def batch(dims=DIMS, real=REAL, samples=4, frames=12, label=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = {m: torch.tensor(real.get(m, (5, 3, 1, 6))[:samples]).view(-1, 1) for m in dims}
    masks = {m: torch.arange(frames) < n for m, n in lengths.items()}
    features = {m: torch.randn(samples, frames, d, generator=generator) * masks[m].unsqueeze(-1) for m, d in dims.items()}
    label = torch.randn(samples, generator=generator) if label is None else label
    return FeatureBatch(features, masks, label=label)


def network(dims=DIMS, seed=0, **options):
    torch.manual_seed(seed)
    sizes = {k: options.pop(k) for k in ("task", "n_classes") if k in options}
    return Misa(spec(dims, **sizes), **{**SMALL, **STILL, **options})


def preset(name, *overrides):
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("train", [f"model={name}", "data=demo", *overrides]), resolve=False)


def build(config, data=None):
    """Network and objective of a preset, at small sizes."""
    data = data or spec()
    options = {**config["model"], **SMALL}
    assert options.pop("_target_") == "dhmd.baselines.Misa"
    torch.manual_seed(0)
    model, task = Misa(data, **options), TaskLoss(data, **{k: v for k, v in config["objective"]["task"].items() if k != "_target_"})
    terms = dict(config["objective"]["terms"])
    assert terms.pop("task") == {"_target_": "dhmd.losses.PredictionLoss"}
    built = {name: get_class(given["_target_"])(**{k: v for k, v in given.items() if k != "_target_"}) for name, given in terms.items()}
    terms = {"task": PredictionLoss(task), **built}
    return model, Objective(task, weights=config["objective"]["weights"], terms=terms)


def tensors(outputs):
    found = []
    map_samples(outputs, lambda x: found.append(x) or x)
    return found
