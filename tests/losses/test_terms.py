"""Each loss against its formula, written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dhmd.batch import MODALITIES, edge_pairs
from dhmd.losses.decoupling import cosine, cycle_loss, orthogonality_loss, reconstruction_loss
from dhmd.losses.graph_distillation import imitation_loss, regularity_loss, repulsion_loss
from dhmd.losses.margin import margin_loss
from dhmd.losses.matching import code_divergence_loss, infonce_loss

PAIRS = edge_pairs(MODALITIES)


def by_modality(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(*shape, generator=generator) for m in MODALITIES}


def margin_in_a_loop(vectors, label, task, margin):
    rows, labels = torch.cat(list(vectors.values())), label.repeat(len(vectors))
    cos = torch.nn.functional.cosine_similarity
    anchors = []
    for i in range(len(rows)):
        values = []
        for p in range(len(rows)):
            for n in range(len(rows)):
                if p != i and labels[p] == labels[i] and labels[n] != labels[i]:
                    wanted = margin * (abs(labels[i] - labels[n]) if task == "regression" else 1)
                    values.append((wanted - cos(rows[i], rows[p], dim=0) + cos(rows[i], rows[n], dim=0)).clamp(min=0))
        if values:
            anchors.append(torch.stack(values).mean())
    return torch.stack(anchors).mean() if anchors else torch.tensor(0.0)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([-2.0, 0.0, 0.5, 1.8]), min_size=1, max_size=5),
    st.sampled_from(["regression", "multiclass"]),
    st.integers(0, 99),
)
def test_margin_loss_equals_the_loop(labels, task, seed):
    vectors, label = by_modality(len(labels), 4, seed=seed), torch.tensor(labels)
    torch.testing.assert_close(margin_loss(vectors, label, task, 0.15), margin_in_a_loop(vectors, label, task, 0.15), rtol=1e-4, atol=1e-6)


def test_margin_loss_without_a_negative_is_zero_and_differentiable():
    vectors = {m: x.requires_grad_() for m, x in by_modality(3, 4).items()}
    loss = margin_loss(vectors, torch.ones(3))
    loss.backward()
    assert loss.item() == 0
    assert all(x.grad.eq(0).all() for x in vectors.values())


def test_reconstruction_and_cycle_are_mean_squared_errors_over_real_frames():
    a, b = by_modality(2, 3, 4), by_modality(2, 3, 4, seed=1)
    expected = sum(((a[m] - b[m]) ** 2).mean() for m in MODALITIES)
    torch.testing.assert_close(reconstruction_loss(a, b), expected)
    torch.testing.assert_close(cycle_loss(a, b), expected)
    masks = {m: torch.tensor([[True, True, False], [True, False, False]]) for m in MODALITIES}
    expected = sum(((a[m] - b[m]) ** 2)[masks[m]].mean() for m in MODALITIES)
    torch.testing.assert_close(reconstruction_loss(a, b, masks), expected)


def test_orthogonality_over_features_and_over_the_batch():
    a, b = by_modality(2, 3, 4), by_modality(2, 3, 4, seed=1)
    cos = torch.nn.functional.cosine_similarity
    features = sum(cos(a[m], b[m], dim=-1).clamp(min=0).mean() for m in MODALITIES)
    torch.testing.assert_close(orthogonality_loss(a, b), features)
    batch = sum(cos(a[m], b[m], dim=0).clamp(min=0).mean() for m in MODALITIES)
    torch.testing.assert_close(orthogonality_loss(a, b, axis="batch"), batch)
    masks = {m: torch.tensor([[True, True, False], [True, False, False]]) for m in MODALITIES}
    masked = sum(cos(a[m], b[m], dim=-1).clamp(min=0)[masks[m]].mean() for m in MODALITIES)
    torch.testing.assert_close(orthogonality_loss(a, b, masks), masked)


def test_cosine_of_zero_vectors_is_zero_with_a_finite_gradient():
    a = torch.zeros(2, 3, requires_grad=True)
    value = cosine(a, torch.zeros(2, 3))
    value.sum().backward()
    assert value.eq(0).all()
    assert a.grad.isfinite().all()


def test_graph_losses():
    values, weight = by_modality(5, 4), torch.rand(5, 6, generator=torch.Generator().manual_seed(2))
    imitation = sum((weight[:, e] * (values[s] - values[t]).abs().sum(1)).mean() for e, (t, s) in enumerate(PAIRS))
    torch.testing.assert_close(imitation_loss(PAIRS, weight, values), imitation)
    cos = {e: torch.nn.functional.cosine_similarity(values[s], values[t]).clamp(min=0) for e, (t, s) in enumerate(PAIRS)}
    torch.testing.assert_close(repulsion_loss(PAIRS, weight, values), sum((weight[:, e] * c).mean() for e, c in cos.items()))
    authors = sum(weight[:, e].mean() * c.mean() for e, c in cos.items())
    torch.testing.assert_close(repulsion_loss(PAIRS, weight, values, per_sample=False), authors)
    assert regularity_loss(torch.tensor([[0.2, 0.8], [0.4, 0.6]]), torch.tensor([0.5, 0.5])).item() == pytest.approx(10 * 2 * 0.2**2)


@pytest.mark.parametrize("loss", [imitation_loss, repulsion_loss])
def test_teachers_are_detached_and_edges_are_not(loss):
    values = {m: x.requires_grad_() for m, x in by_modality(5, 4).items()}
    weight = torch.zeros(5, 6)
    weight[:, PAIRS.index(("language", "vision"))] = 1
    weight.requires_grad_()
    loss(PAIRS, weight, values).backward()
    assert values["language"].grad.eq(0).all()
    assert values["vision"].grad.ne(0).any()
    assert weight.grad.ne(0).any()


def test_infonce_is_the_symmetric_cross_entropy_over_pairs():
    codes = {m: torch.nn.functional.normalize(x, dim=-1) for m, x in by_modality(4, 6).items()}
    scale = 5.0
    expected = 0.0
    for a, b in (("language", "vision"), ("language", "acoustic"), ("vision", "acoustic")):
        p = (scale * codes[a] @ codes[b].T).exp()
        expected += -(torch.log(p.diag() / p.sum(1)).mean() + torch.log(p.diag() / p.sum(0)).mean()) / 2
    torch.testing.assert_close(infonce_loss(codes, torch.tensor(math.log(scale))), expected)
    torch.testing.assert_close(infonce_loss(codes, torch.tensor(20.0)), infonce_loss(codes, torch.tensor(math.log(100))))


def test_code_divergence_runs_from_zero_to_one_bit():
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    other = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    weight = torch.tensor([[1.0], [1.0]])
    pair = (("language", "vision"),)
    assert code_divergence_loss(pair, weight, {"language": one, "vision": one}).item() == pytest.approx(0, abs=1e-6)
    apart = code_divergence_loss(pair, weight, {"language": one, "vision": other}).item()
    p = 1.0001 / 1.0002  # smoothed by 1e-4
    expected = 1 + p * math.log2(p) + (1 - p) * math.log2(1 - p)  # JS = H(mean) - mean entropy
    assert apart == pytest.approx(expected, rel=1e-4)
    half = code_divergence_loss(pair, weight / 2, {"language": one, "vision": other}).item()
    assert half == pytest.approx(apart / 2)
