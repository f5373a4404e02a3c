"""Each stage can be absent: which loss terms and parameters go, what comes instead, and that the rest still learns."""

import pytest
import torch
from presets import batch, build, idle

DECOUPLING = {"reconstruction", "cycle", "orthogonality", "margin"}
MODALITIES = ("language", "vision", "acoustic")


def terms_of(space, *names):
    return {f"{space}_{n}" for n in names}


ABSENT = {
    "decoupling": ("model.decoupling=null", DECOUPLING, ["decoupling"], []),
    "HomoGD": (
        "model.homogeneous.distillation=null",
        terms_of("homogeneous", "regularity", "logit", "representation"),
        ["homogeneous.unit"],
        [],
    ),
    "HeteroGD": (
        "model.heterogeneous.distillation=null",
        terms_of("heterogeneous", "regularity", "logit", "representation"),
        ["heterogeneous.unit"],
        [],
    ),
    "cross-modal attention": (
        "model.cross_modal_attention=false",
        set(),
        ["heterogeneous.attention.cross", "heterogeneous.attention.memory"],
        ["heterogeneous.attention.encoder", "heterogeneous.attention.widen"],
    ),
    "homogeneous dictionary": (
        "model.homogeneous.dictionary=null",
        terms_of("homogeneous", "matching"),
        ["homogeneous.dictionary", "homogeneous.join"],
        [],
    ),
    "heterogeneous dictionary": (
        "model.heterogeneous.dictionary=null",
        terms_of("heterogeneous", "matching"),
        ["heterogeneous.dictionary", "heterogeneous.join"],
        [],
    ),
    "homogeneous prior": ("model.homogeneous.distillation.prior=false", terms_of("homogeneous", "regularity"), [], []),
    "heterogeneous prior": ("model.heterogeneous.distillation.prior=false", terms_of("heterogeneous", "regularity"), [], []),
    "homogeneous heads": (
        ["model.homogeneous.distillation=null", "model.homogeneous.unimodal_heads=false"],
        terms_of("homogeneous", "regularity", "logit", "representation") | {f"task_homogeneous_{m}" for m in MODALITIES},
        ["homogeneous.unit", "homogeneous.heads"],
        [],
    ),
    "heterogeneous heads": (
        ["model.heterogeneous.distillation=null", "model.heterogeneous.unimodal_heads=false"],
        terms_of("heterogeneous", "regularity", "logit", "representation") | {f"task_heterogeneous_{m}" for m in MODALITIES},
        ["heterogeneous.unit", "heterogeneous.heads"],
        [],
    ),
}


def run(*overrides):
    network, objective = build("dhmd", *overrides)
    data = batch()
    outputs = network(data)
    terms = objective(outputs, data)
    return network, outputs, terms, objective


@pytest.mark.parametrize("stage", ABSENT)
def test_absent(stage):
    overrides, vanished_terms, vanished, instead = ABSENT[stage]
    full, _, full_terms, _ = run()
    network, _, terms, objective = run(*([overrides] if isinstance(overrides, str) else overrides))
    assert full_terms.keys() - terms.keys() == vanished_terms
    assert terms.keys() <= full_terms.keys()
    full_names, names = dict(full.named_parameters()).keys(), dict(network.named_parameters()).keys()
    assert full_names - names == {n for n in full_names if n.startswith(tuple(vanished))} if vanished else full_names == names
    assert names - full_names == {n for n in names if n.startswith(tuple(instead))} if instead else names <= full_names
    for prefix in vanished:
        assert any(n.startswith(prefix) for n in full_names), f"{prefix} never was there"
    assert idle(network, objective) == []


def test_everything_absent_is_still_a_network():
    overrides = ["model.decoupling=null", "model.cross_modal_attention=false"]
    for space in ("homogeneous", "heterogeneous"):
        overrides += [f"model.{space}.{part}" for part in ("distillation=null", "dictionary=null", "unimodal_heads=false")]
    network, _, terms, objective = run(*overrides)
    assert terms.keys() == {"task_fused", "task_shared", "total"}
    assert idle(network, objective) == []


def test_without_decoupling_both_spaces_read_the_projection():
    network, outputs, _, _ = run("model.decoupling=null")
    data = batch()
    for m in MODALITIES:
        projected, _ = network.projection[m](data.features[m], data.masks[m])
        if m != "language":  # language has dropout before its projection
            torch.testing.assert_close(outputs.homogeneous.sequences[m], projected)


def test_without_cross_modal_attention_modalities_do_not_mix_before_fusion():
    network, _ = build("dhmd", "model.cross_modal_attention=false")
    network.eval()
    data = batch()
    changed = dict(data.features)
    changed["acoustic"] = changed["acoustic"] * 2 + 1
    other = type(data)(changed, data.masks, data.label)
    before, after = network(data).heterogeneous.pooled, network(other).heterogeneous.pooled
    assert torch.equal(before["language"], after["language"])
    assert not torch.equal(before["acoustic"], after["acoustic"])
    assert before["language"].shape == (4, 16)


def test_without_a_prior_the_weights_are_the_distillation():
    _, outputs, _, _ = run("model.homogeneous.distillation.prior=false")
    assert torch.equal(outputs.homogeneous.edges.distillation, outputs.homogeneous.edges.weights)


@pytest.mark.parametrize("space", ["homogeneous", "heterogeneous"])
def test_the_prediction_changes_with_the_codes(space):
    network, _ = build("dhmd")
    network.eval()
    before = network(batch()).prediction
    with torch.no_grad():
        getattr(network, space).dictionary.entries.mul_(-1).add_(0.3)
    assert (network(batch()).prediction - before).abs().min() > 1e-6


@pytest.mark.parametrize("detach", ["true", "false"])
@pytest.mark.parametrize("matching", ["hinge", "infonce", "code_kl"])
def test_encoders_learn_from_matching_exactly_when_detach_is_off(detach, matching):
    overrides = [f"model.{s}.dictionary.detach={detach}" for s in ("homogeneous", "heterogeneous")]
    overrides += [f"objective.terms.{s}_matching.loss={matching}" for s in ("homogeneous", "heterogeneous")]
    network, objective = build("dhmd", *overrides)
    data = batch()
    terms = objective(network(data), data)
    (terms["homogeneous_matching"] + terms["heterogeneous_matching"]).backward()
    encoders = [network.decoupling.shared.weight, *network.heterogeneous.attention.parameters()]
    assert all((p.grad is None or p.grad.eq(0).all()) == (detach == "true") for p in encoders)
    assert network.homogeneous.dictionary.entries.grad.ne(0).any()
    assert network.heterogeneous.dictionary.query["vision"][1].weight.grad.ne(0).any()
