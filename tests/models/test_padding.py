"""Padding makes no difference to ``dmd`` and ``dhmd``; in ``dmd_authors`` every frame counts, as in the authors' code."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from presets import NO_DROPOUT, batch, build

import dhmd

REAL = (9, 6, 1, 4)


def pad(data, modality, left, right):
    features = dict(data.features)
    features[modality] = torch.nn.functional.pad(features[modality], (0, 0, left, right))
    return dhmd.FeatureBatch.from_arrays(**features, label=data.label)


def everything(network, objective, data):
    """All that a network says of its samples, and the terms of its objective."""
    with torch.no_grad():
        o = network(data)
        terms = objective(o, data)
    found = {"prediction": o.prediction, "shared_logits": o.shared_logits, **terms}
    for name, space in o.spaces.items():
        for part in ("pooled", "logits", "representations", "activations", "codes"):
            for m, x in (getattr(space, part) or {}).items():
                found[f"{name}.{part}.{m}"] = x
        found[f"{name}.edges"] = space.edges.weights
    return found | {f"similarity.{m}": x for m, x in o.decoupled.similarity.items()}


@pytest.mark.parametrize("causal", ["false", "true"])
@pytest.mark.parametrize("model", ["dmd", "dhmd"])
@pytest.mark.parametrize("modality", ["language", "vision", "acoustic"])
@pytest.mark.parametrize(("left", "right"), [(17, 0), (0, 17), (17, 17)])
def test_seventeen_padded_frames_change_nothing(model, modality, left, right, causal):
    network, objective = build(model, "model.summary=pool", "model.kernels=3", f"model.causal={causal}", *NO_DROPOUT)
    data = batch(real=REAL)
    before, after = everything(network, objective, data), everything(network, objective, pad(data, modality, left, right))
    assert before.keys() == after.keys()
    for name, x in before.items():
        assert (x - after[name]).abs().max() < 1e-6 * max(1, x.abs().max()), name


@hypothesis_settings(max_examples=25)
@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from(["language", "vision", "acoustic"]), st.integers(0, 50))
def test_any_padding_changes_nothing(left, right, modality, seed):
    network, objective = build("dhmd", "model.summary=pool", "model.kernels={language: 5, vision: 3, acoustic: 1}", seed=seed)
    network.eval().double()  # in float32 the order of sums alone makes 1e-6
    data = batch(real=REAL, seed=seed).double()
    before, after = everything(network, objective, data), everything(network, objective, pad(data, modality, left, right).double())
    for name, x in before.items():
        assert (x - after[name]).abs().max() < 1e-10 * max(1, x.abs().max()), name


def test_a_sample_does_not_depend_on_its_neighbours():
    network, _ = build("dhmd", "model.summary=pool")
    network.eval()
    data = batch(real=REAL)
    alone = dhmd.FeatureBatch.from_arrays(**{m: x[1:2, :6] for m, x in data.features.items()})
    torch.testing.assert_close(network(data).prediction[1:2], network(alone).prediction, rtol=1e-5, atol=1e-6)


def test_a_modality_without_a_frame_gives_finite_numbers_and_gradients():
    network, objective = build("dhmd", "model.summary=pool")
    data = batch()
    features = dict(data.features)
    features["vision"] = torch.zeros_like(features["vision"])
    data = dhmd.FeatureBatch.from_arrays(**features, label=data.label)
    outputs = network(data)
    objective(outputs, data)["total"].backward()
    assert outputs.prediction.isfinite().all()
    assert outputs.heterogeneous.codes["vision"].isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_flattened_heads_still_ignore_what_stands_in_padded_frames():
    network, _ = build("dmd")
    network.eval()
    data = batch(real=REAL)
    filled = {m: torch.where(data.masks[m].unsqueeze(-1), x, 7.0) for m, x in data.features.items()}
    other = dhmd.FeatureBatch(filled, data.masks, data.label)
    torch.testing.assert_close(network(data).prediction, network(other).prediction)


def test_in_the_authors_preset_every_frame_counts():
    network, _ = build("dmd_authors")
    network.eval()
    data = batch(real=REAL)
    features = dict(data.features)
    features["vision"] = features["vision"].roll(3, dims=1)  # the same real frames, padding on the other side
    moved = dhmd.FeatureBatch.from_arrays(**features)
    assert network(data).masks is None
    assert (network(data).prediction - network(moved).prediction)[1].abs().item() > 1e-4
