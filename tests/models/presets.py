"""Networks and objectives as conf/ describes them, at test size."""

from copy import deepcopy
from functools import cache

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import dhmd
from dhmd.batch import FeatureSpec
from dhmd.config import conf_dir
from dhmd.models import DecoupledDistillation
from dhmd.training.build import build_objective

DIMS = {"language": 12, "vision": 5, "acoustic": 4}
LENGTHS = {"language": 9, "vision": 9, "acoustic": 9}
SPEC = FeatureSpec(DIMS, LENGTHS)
MODALITIES_OF_TEST = SPEC.modalities
SMALL = ("model.width=8", "model.heads=2", "model.layers=1")
NO_DROPOUT = tuple(
    f"model.dropout.{k}=0.0"
    for k in ("memory", "relu", "residual", "embedding", "text", "output", "attention.language", "attention.vision", "attention.acoustic")
)


@cache
def _composed(model, *overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"model={model}", *overrides])
    parts = {key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "objective")}
    parts["model"].pop("_target_")
    return parts


def configuration(model, *overrides):
    """The composed ``model`` and ``objective`` groups as plain dictionaries."""
    return deepcopy(_composed(model, *overrides))


def build(model, *overrides, spec=SPEC, small=True, seed=0):
    """Network and objective of a preset."""
    parts = configuration(model, *(SMALL if small else ()), *overrides)
    torch.manual_seed(seed)
    network = DecoupledDistillation(spec, **parts["model"])
    return network, build_objective(parts["objective"], spec, network)


def batch(n=4, spec=SPEC, seed=0, real=None):
    """Random features; ``real`` gives the number of real frames of each sample, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(n, spec.lengths[m], spec.dims[m], generator=generator) for m in spec.modalities}
    for i, frames in enumerate(real or ()):
        for x in features.values():
            x[i, frames:] = 0
    classes = 2 if spec.task == "binary" else spec.n_classes
    label = torch.linspace(-2, 2, n) if spec.task == "regression" else torch.arange(n) % classes
    return dhmd.FeatureBatch.from_arrays(**features, label=label)


def idle(network, objective, spec=SPEC):
    """Names of the parameters that no batch of a few moves.

    A unit's biases add the same to all scores of a softmax: they move nothing, in the authors' network neither.
    """
    for seed in range(3):
        data = batch(7, spec=spec, seed=seed)  # odd: signs of L1 cannot cancel
        objective(network(data), data)["total"].backward()
    return [
        n for n, p in network.named_parameters() if p.grad is None or not (p.grad.ne(0).any() or (".unit." in n and n.endswith("bias")))
    ]
