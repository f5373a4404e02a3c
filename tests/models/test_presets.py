"""The three presets: sizes, options, and that nothing in them is idle."""

import pytest
import torch
from presets import SPEC, batch, build, configuration, idle

from dhmd.batch import FeatureSpec

MOSI = FeatureSpec({"language": 768, "vision": 20, "acoustic": 5}, dict.fromkeys(("language", "vision", "acoustic"), 50))
MOSI_UNALIGNED = FeatureSpec(MOSI.dims, {"language": 50, "vision": 500, "acoustic": 375}, aligned=False)
MOSEI = FeatureSpec({"language": 768, "vision": 35, "acoustic": 74}, MOSI.lengths)
MOSEI_SIZE = ("model.width=30", "model.heads=6", "model.kernels={language: 5, vision: 3, acoustic: 1}")


def parameters(network, without=()):
    return sum(p.numel() for n, p in network.named_parameters() if ".unit." not in n)


@pytest.mark.parametrize(("spec", "overrides", "millions"), [(MOSI, (), 4.74), (MOSI_UNALIGNED, (), 12.57), (MOSEI, MOSEI_SIZE, 1.79)])
def test_parameter_counts_of_the_authors_network(spec, overrides, millions):
    network, _ = build("dmd_authors", *overrides, spec=spec, small=False)
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.005)


def test_parameter_counts_of_the_units():
    network, _ = build("dmd", spec=MOSI, small=False)
    assert [sum(p.numel() for p in s.unit.parameters()) for s in (network.homogeneous, network.heterogeneous)] == [3649, 3425]


def test_projected_lengths_are_the_authors():
    network, _ = build("dmd_authors", *MOSEI_SIZE, spec=MOSEI, small=False)
    assert {m: network.projection[m].length(50) for m in network.modalities} == {"language": 46, "vision": 48, "acoustic": 50}


def test_dictionary_sizes_of_dhmd():
    network, _ = build("dhmd", spec=MOSI, small=False)
    assert network.homogeneous.dictionary.entries.shape == (512, 50)
    assert network.heterogeneous.dictionary.entries.shape == (512, 100)
    assert network.heterogeneous.dictionary.detach


def test_dmd_authors_differs_from_dmd_where_the_table_says():
    dmd, authors = configuration("dmd"), configuration("dmd_authors")
    changed = {k for k in dmd["model"] if dmd["model"][k] != authors["model"][k]}
    assert changed == {"padding", "causal", "decoupling"}
    assert {k for k in dmd["objective"] if dmd["objective"][k] != authors["objective"][k]} == {"terms"}
    assert dmd["objective"]["terms"].keys() == authors["objective"]["terms"].keys()
    assert {name: term for name, term in authors["objective"]["terms"].items() if term != dmd["objective"]["terms"][name]} == {
        "orthogonality": {"_target_": "dhmd.losses.Orthogonality", "axis": "batch"},
        "heterogeneous_representation": {
            "_target_": "dhmd.losses.RepresentationDistillation",
            "space": "heterogeneous",
            "kind": "repel_mean",
        },
    }


def test_dhmd_differs_from_dmd_by_its_dictionaries():
    dmd, dhmd = configuration("dmd")["model"], configuration("dhmd")["model"]
    assert {k for k in dmd if dmd[k] != dhmd[k]} == {"summary", "homogeneous", "heterogeneous"}
    for space in ("homogeneous", "heterogeneous"):
        assert dmd[space]["dictionary"] is None
        assert {**dhmd[space], "dictionary": None} == dmd[space]


@pytest.mark.parametrize("model", ["dmd", "dhmd"])
@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_every_parameter_gets_a_gradient(model, task):
    spec = FeatureSpec(SPEC.dims, SPEC.lengths, task, n_classes=3 if task == "multiclass" else 1)
    network, objective = build(model, spec=spec)
    data = batch(spec=spec)
    assert network(data).prediction.shape == (4, spec.out_dim)
    assert idle(network, objective, spec) == []


@pytest.mark.parametrize("model", ["dmd_authors", "dmd", "dhmd"])
def test_groups_hold_every_parameter_once(model):
    network, _ = build(model)
    groups = network.parameter_groups()
    ids = [id(p) for group in groups.values() for p in group]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in network.parameters()}
    assert ("dictionaries" in groups) == (model == "dhmd")
    assert "text_encoder" not in groups


def test_a_batch_in_another_order_of_modalities_is_the_same():
    network, _ = build("dhmd")
    network.eval()
    data = batch()
    turned = type(data)(dict(reversed(data.features.items())), data.masks, data.label)
    assert torch.equal(network(data).prediction, network(turned).prediction)


def test_a_missing_modality_is_told():
    network, _ = build("dhmd")
    data = batch()
    with pytest.raises(ValueError, match="the batch has no acoustic features; the network reads language, vision, acoustic"):
        network(type(data)({m: data.features[m] for m in ("language", "vision")}, data.masks, data.label))


@pytest.mark.parametrize("names", [("language", "acoustic"), ("language", "vision", "acoustic", "gaze")])
def test_two_and_four_modalities(names):
    spec = FeatureSpec(dict.fromkeys(names, 6), dict.fromkeys(names, 9))
    overrides = [f"model.{space}.distillation.prior=null" for space in ("homogeneous", "heterogeneous")]
    if "gaze" in names:
        overrides.append("+model.dropout.attention.gaze=0.1")
    if len(names) == 2:
        overrides += ["model.heads=2"]
    network, objective = build("dhmd", *overrides, spec=spec)
    data = batch(spec=spec)
    outputs = network(data)
    assert idle(network, objective, spec) == []
    assert outputs.heterogeneous.pooled["language"].shape == (4, 8 * (len(names) - 1))
    assert outputs.homogeneous.edges.weights.shape == (4, len(names) * (len(names) - 1))
