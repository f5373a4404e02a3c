"""The plain DMD that speed is measured against computes the authors' numbers, and what the suite's network computes."""

import numpy as np
import pytest
import torch

from authors_checkpoint import REFERENCE
from benchmarks.plain.losses import System
from benchmarks.plain.network import DMD, LETTERS, Rates, Sizes

NAMES = {"l": "text", "v": "vision", "a": "audio"}


def system_of_reference():
    dims = {x: REFERENCE[f"in.{name}"].shape[2] for x, name in NAMES.items()}
    sizes = Sizes(dims, dict.fromkeys(LETTERS, 50), dict.fromkeys(LETTERS, 5), width=12, heads=3, layers=2)
    system = System(DMD(sizes, Rates()), 12)
    system.load_state_dict({k: torch.from_numpy(REFERENCE[k]) for k in system.state_dict()})
    return system


@pytest.fixture(scope="module")
def computed():
    """System, outputs and terms after a backward pass."""
    system = system_of_reference()
    out = system({x: torch.from_numpy(REFERENCE[f"in.{name}"]) for x, name in NAMES.items()})
    terms = system.terms(out, torch.from_numpy(REFERENCE["in.label"]))
    terms["total"].backward()
    return system, out, terms


def test_every_weight_of_the_authors_has_its_place():
    ignored = (".version", "._float_tensor")
    theirs = {k for k in REFERENCE if k.startswith(("model.", "homo_gd.", "hetero_gd.")) and not k.endswith(ignored)}
    assert theirs == set(system_of_reference().state_dict())


@pytest.mark.parametrize("name", sorted(k[4:] for k in REFERENCE if k.startswith("out.")))
def test_output_of_the_authors(computed, name):
    expected = REFERENCE[f"out.{name}"]
    found = computed[1][name].detach().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_losses_of_the_authors(computed):
    expected = {k[5:]: float(v) for k, v in REFERENCE.items() if k.startswith("loss.") and k != "loss.ortho_featuredim"}
    assert {k: v.item() for k, v in computed[2].items()} == pytest.approx(expected, rel=1e-5)


def test_gradients_of_the_authors(computed):
    expected = {k[len("gradnorm.") :]: float(v) for k, v in REFERENCE.items() if k.startswith("gradnorm.")}
    found = {name: p.grad.norm().item() for name, p in computed[0].named_parameters() if p.grad is not None}
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-8)
