"""Our DMD against the numbers of the authors' implementation (tests/parity/data/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch

import dhmd
from dhmd.interop import dmd_from_authors
from dhmd.interop.dmd import LETTERS, _names
from objectives import objective_of

REFERENCE = dict(np.load(Path(__file__).parent / "data" / "dmd_reference.npz", allow_pickle=False))
WEIGHTS = {k: torch.from_numpy(v) for k, v in REFERENCE.items() if k.startswith(("model.", "homo_gd.", "hetero_gd."))}
WEIGHTS_OF_TERMS = {
    **dict.fromkeys(("task_fused", "task_shared", "task_homogeneous", "task_heterogeneous"), 1.0),
    **dict.fromkeys(("homogeneous_regularity", "homogeneous_logit"), 0.05),
    "homogeneous_representation": 0.0,
    **dict.fromkeys(("heterogeneous_regularity", "heterogeneous_logit", "heterogeneous_representation"), 0.05),
    **dict.fromkeys(("reconstruction", "cycle"), 0.1),
    **dict.fromkeys(("orthogonality", "margin"), 0.01),
}
LOSSES = {
    "task_fused": "task_fused",
    "task_shared": "task_common",
    **{f"task_homogeneous_{m}": f"task_{x}_homo" for m, x in LETTERS.items()},
    **{f"task_heterogeneous_{m}": f"task_{x}_hetero" for m, x in LETTERS.items()},
    "reconstruction": "recon",
    "cycle": "cycle",
    "orthogonality": "ortho_batchdim",
    "margin": "margin",
    "homogeneous_regularity": "gd_homo_reg",
    "homogeneous_logit": "gd_homo_logit",
    "homogeneous_representation": "gd_homo_repr",
    "heterogeneous_regularity": "gd_hetero_reg",
    "heterogeneous_logit": "gd_hetero_logit",
    "heterogeneous_representation": "gd_hetero_repr",
}


def batch():
    arrays = {"language": REFERENCE["in.text"], "vision": REFERENCE["in.vision"], "acoustic": REFERENCE["in.audio"]}
    return dhmd.FeatureBatch.from_arrays(**arrays, label=REFERENCE["in.label"])


@pytest.fixture(scope="module")
def computed():
    """Network, outputs and terms after one backward pass, in training mode; all dropout is 0."""
    network = dmd_from_authors(WEIGHTS, n_heads=3).train()
    outputs = network(batch())
    objective = objective_of(network.spec, "objective=dmd_authors", network=network, weights=WEIGHTS_OF_TERMS)
    terms = objective(outputs, batch())
    terms["total"].backward()
    return network, outputs, terms


def their_outputs(outputs):
    """Every output under the authors' name, on the authors' axes."""
    o = {"output_logit": outputs.prediction, "logits_c": outputs.shared_logits}
    d = outputs.decoupled
    for m, x in LETTERS.items():
        o |= {f"logits_{x}_homo": outputs.homogeneous.logits[m], f"repr_{x}_homo": outputs.homogeneous.representations[m]}
        o |= {f"logits_{x}_hetero": outputs.heterogeneous.logits[m], f"repr_{x}_hetero": outputs.heterogeneous.representations[m]}
        o |= {f"last_h_{x}": outputs.heterogeneous.pooled[m]}
        o |= {f"origin_{x}": d.projected[m].transpose(1, 2), f"recon_{x}": d.reconstruction[m].transpose(1, 2)}
        o |= {f"s_{x}_r": d.cycle[m].transpose(1, 2), f"s_{x}": d.private[m].transpose(0, 1), f"c_{x}": d.shared[m].transpose(0, 1)}
        o |= {f"c_{x}_sim": d.similarity[m], f"proj_s_{x}": d.private_similarity[m]}
    return o


def relative(found, expected):
    return np.abs(found.detach().numpy() - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", sorted(k[4:] for k in REFERENCE if k.startswith("out.")))
def test_output(computed, name):
    found = their_outputs(computed[1])[name]
    assert found.shape == REFERENCE[f"out.{name}"].shape
    assert relative(found, REFERENCE[f"out.{name}"]) < 1e-5


@pytest.mark.parametrize(("space", "short"), [("homogeneous", "homo"), ("heterogeneous", "hetero")])
def test_edges_and_prior(computed, space, short):
    edges = getattr(computed[1], space).edges
    assert relative(edges.weights.T, REFERENCE[f"edges_{short}"]) < 1e-5
    assert relative(edges.prior, REFERENCE[f"gd_prior_{short}"]) < 1e-6


@pytest.mark.parametrize(("ours", "theirs"), LOSSES.items())
def test_loss_term(computed, ours, theirs):
    assert computed[2][ours].item() == pytest.approx(float(REFERENCE[f"loss.{theirs}"]), rel=1e-5)


def test_every_loss_of_the_reference_is_compared():
    compared = {*LOSSES.values(), "ortho_featuredim", "total"}
    assert compared == {k[5:] for k in REFERENCE if k.startswith("loss.")}


def test_orthogonality_over_features(computed):
    network, outputs, _ = computed
    changes = ("objective=dmd_authors", "objective.terms.orthogonality.axis=features")
    terms = objective_of(network.spec, *changes, network=network, weights={"orthogonality": 0.01})(outputs, batch())
    assert terms["orthogonality"].item() == pytest.approx(float(REFERENCE["loss.ortho_featuredim"]), rel=1e-5)


def test_total(computed):
    assert computed[2]["total"].item() == pytest.approx(float(REFERENCE["loss.total"]), rel=1e-4)


def test_every_gradient_norm(computed):
    network = computed[0]
    their_names = dict(_names(network))
    norms = {k[len("gradnorm.") :]: float(v) for k, v in REFERENCE.items() if k.startswith("gradnorm.")}
    seen = set()

    def compare(names, gradient):
        if isinstance(names, list):
            for i, part in enumerate(names):
                compare(part, None if gradient is None else gradient[i])
            return
        theirs = names if "_gd." in names else f"model.{names}"
        if theirs not in norms:
            assert gradient is None, f"the authors' {theirs} has no gradient"
            return
        assert gradient.norm().item() == pytest.approx(norms[theirs], rel=1e-4, abs=1e-8), theirs
        seen.add(theirs)

    for ours, parameter in network.named_parameters():
        compare(their_names[ours], parameter.grad)
    assert seen == set(norms)
