"""Every file of conf/model at test size: what the conformance test and tests of runs take their networks and batches from."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
import yaml

from dhmd.app import compose
from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec
from dhmd.config import _locate, conf_dir, instantiate, to_plain
from dhmd.nn.text import GivenFeatures
from dhmd.training.build import build_module

DIMS = {"language": 12, "vision": 6, "acoustic": 4}
LENGTHS = {True: {"language": 9, "vision": 9, "acoustic": 9}, False: {"language": 9, "vision": 13, "acoustic": 11}}
NARROW = {"width": 8, "heads": 2, "layers": 1}  # of a network that has all three; the others keep their own sizes
SAMPLES = 16  # of a batch: enough of each sign for a covariance of four dimensions
SPLIT = 2 * SAMPLES  # training samples
VOCABULARY = 50


def presets():
    """Names of the files of conf/model."""
    return sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))


@cache
def target(preset):
    """The name of the class of a preset, read from its file or from the one that it begins with."""
    content = yaml.safe_load((conf_dir() / "model" / f"{preset}.yaml").read_text())
    found = content.get("model", content).get("_target_")
    below = [entry.partition("@")[0].rpartition("/")[2] for entry in content.get("defaults", []) if isinstance(entry, str)]
    return found or next(target(name) for name in below if name != "_self_")


def one_of_each_class(package="dhmd"):
    """The presets of a package's networks as parameters of a test: the first one of each class, and the others, which are slow."""
    first = {}
    for preset in presets():
        first.setdefault(target(preset), preset)
    found = [preset for preset in presets() if target(preset).startswith(f"{package}.")]
    return [pytest.param(p, marks=() if p in first.values() else pytest.mark.slow, id=p) for p in found]


@cache
def narrow(preset):
    """Overrides that make a preset's network narrow, where it has such sizes."""
    options = compose([f"model={preset}", "run_dir=none"]).model
    return tuple(f"model.{key}={value}" for key, value in NARROW.items()) if set(NARROW) <= set(options) else ()


@cache
def _composed(preset, *overrides):
    return compose([f"model={preset}", *narrow(preset), "run_dir=none", "optimisation.accumulation.batches=1", *overrides])


@dataclass(frozen=True)
class Built:
    """A preset built for a specification."""

    module: torch.nn.Module
    spec: FeatureSpec

    @property
    def network(self):
        return self.module.network

    def outputs(self, batch):
        """Outputs in evaluation mode, without gradients; the mode is the former one afterwards."""
        training = self.network.training
        self.network.eval()
        with torch.no_grad():
            found = self.network(batch)
        self.network.train(training)
        return found

    def batch(self, frames=None, n=SAMPLES, seed=0, **options):
        return make_batch(self.spec, frames, n, seed, **options)


def build(preset, *overrides, aligned=False, seed=0, **options):
    """Build a preset for small data, aligned where the network takes no other."""
    config = to_plain(_composed(preset, *overrides))
    kind = _locate(config["model"]["_target_"], "model")
    aligned = aligned or kind.aligned_only
    tokens = {"token_length": LENGTHS[aligned][LANGUAGE]} if kind.needs_tokens else {}
    spec = FeatureSpec(DIMS, LENGTHS[aligned], aligned=aligned, sizes={"train": SPLIT}, **tokens, **options)
    torch.manual_seed(seed)
    return Built(build_module(config, _text_encoder(kind), spec), spec)


def _text_encoder(kind):
    if not kind.needs_tokens:
        return GivenFeatures()
    pytest.importorskip("transformers", reason="needs the extra 'text'")
    sizes = {"vocabulary": VOCABULARY, "hidden": 64, "positions": 64, "segments": 2, "intermediate": 16, "layers": 1}
    return instantiate({"_target_": "dhmd.nn.text.bert_of_sizes", **sizes})


def make_batch(spec, frames=None, n=SAMPLES, seed=0, first=0):
    """Random samples with labels of both signs.

    Args:
        spec: what they look like.
        frames: of each sample, by modality, its first and one after its last real frame; None for all frames.
        n: samples.
        seed: of the numbers.
        first: row of the first sample in its split.
    """
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(n, spec.lengths[m], d, generator=generator) for m, d in spec.dims.items()}
    for i, real in enumerate(frames or ()):
        for m, (start, stop) in real.items():
            features[m][i, :start] = 0
            features[m][i, stop:] = 0
    classes = max(2, spec.n_classes)
    label = torch.randn(n, generator=generator) * 1.5 if spec.task == "regression" else torch.arange(n) % classes
    tokens = None
    if spec.token_length is not None:
        ids = torch.randint(1, VOCABULARY, (n, spec.token_length), generator=generator)
        tokens = torch.stack([ids, torch.ones_like(ids), torch.zeros_like(ids)], dim=1)
    batch = FeatureBatch.from_arrays(**features, label=label.float() if spec.task != "multiclass" else label, tokens=tokens)
    return replace(batch, index=torch.arange(first, first + n))


def uneven(spec):
    """Real frames of four samples: padding on both sides, on either, on none; the last one has no frame of the last modality."""
    last = spec.modalities[-1]
    found = []
    for i in range(4):
        starts = {m: (0, 2, 0, 3)[i] for m in spec.modalities}
        stops = {m: spec.lengths[m] - (0, 1, 4, 5 - j % 2)[i] for j, m in enumerate(spec.modalities)}
        found.append({m: (starts[m], stops[m]) for m in spec.modalities})
    found[-1][last] = (0, 0)
    return found


def padded(batch, modality, left, right, value=0.0):
    """The batch with more padded frames of a modality; they hold ``value``."""
    features, masks = dict(batch.features), dict(batch.masks)
    features[modality] = torch.nn.functional.pad(features[modality], (0, 0, left, right), value=value)
    masks[modality] = torch.nn.functional.pad(masks[modality], (left, right), value=False)
    return replace(batch, features=features, masks=masks)
