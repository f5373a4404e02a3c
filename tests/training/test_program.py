"""Replicas in one program give what each gives alone, dropout included."""

import pytest
import torch

from dhmd.errors import UsageError
from dhmd.losses import Objective
from dhmd.nn.replicas import mapped, of_all, replicas, side_by_side
from dhmd.training.program import Pair, forward_together
from models.presets import batch, build

K = 3
REAL = [(9, 7, 5, 9, 2, 3), (8, 7, 5, 8, 3, 3), (6, 1, 5, 4, 4, 3)]  # the longest of one replica is not that of another


def alone(pair, data, seed):
    torch.manual_seed(seed)
    outputs, terms = pair(data)
    found = pair.objective.weighted(terms)
    gradients = torch.autograd.grad(found["total"], list(trained(pair).values()), allow_unused=True)
    return outputs, found, gradients


def trained(pair):
    return {name: p for name, p in pair.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("model", "overrides", "real"),
    [
        ("dmd", (), REAL[:1] * K),
        ("dmd", ("model.padding=authors", "model.summary=flatten"), REAL[:1] * K),
        ("dhmd", (), REAL[:1] * K),
        ("dhmd", ("model.summary=pool", "objective.matching=infonce"), REAL[:1] * K),
        ("dhmd", ("model.dropout.embedding=0.2", "model.dropout.residual=0.1", "model.dropout.relu=0.1"), REAL[:1] * K),
        (
            "dhmd",
            ("model.one_dictionary=true", "model.homogeneous.dictionary.width=8", "model.heterogeneous.dictionary.width=8"),
            REAL[:1] * K,
        ),
        ("dmd", ("model.cross_modal_attention=false", "model.causal=true"), REAL[:1] * K),
    ],
    ids=lambda value: ",".join(value) if value and isinstance(value[0], str) and isinstance(value, tuple) else None,
)
def test_a_replica_gives_what_its_network_gives_alone(model, overrides, real):
    pairs = [Pair(*build(model, *overrides, seed=k)).train().double() for k in range(K)]  # hinges and maxima have kinks
    data = [batch(6, seed=k, real=real[k]).double() for k in range(K)]
    wanted = [alone(pair, one, 100 + k) for k, (pair, one) in enumerate(zip(pairs, data, strict=True))]
    together = forward_together(pairs, data, [torch.Generator().manual_seed(100 + k) for k in range(K)])
    torch.autograd.backward([terms["total"] for _, terms in together])
    for pair, (outputs, terms), (own_outputs, own_terms, gradients) in zip(pairs, together, wanted, strict=True):
        torch.testing.assert_close(outputs.prediction, own_outputs.prediction)
        assert terms.keys() == own_terms.keys()
        for name in terms:
            torch.testing.assert_close(terms[name], own_terms[name], msg=lambda text, name=name: f"{name}: {text}")
        for (name, p), gradient in zip(trained(pair).items(), gradients, strict=True):
            expected = torch.zeros_like(p) if gradient is None else gradient
            torch.testing.assert_close(p.grad, expected, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("model", ["dmd", "dhmd"])
def test_lengths_may_differ_between_replicas(model):
    """Without dropout: sequences are cut to the longest of all, and a mask of dropout follows the shape."""
    pairs = [Pair(*build(model, seed=k)).eval() for k in range(K)]
    data = [batch(6, seed=k, real=REAL[k]) for k in range(K)]
    with torch.no_grad():
        together = forward_together(pairs, data, [torch.Generator()] * K)
        for pair, one, (outputs, terms) in zip(pairs, data, together, strict=True):
            own_outputs, own_terms = pair(one)
            torch.testing.assert_close(outputs.prediction, own_outputs.prediction)
            torch.testing.assert_close(outputs.homogeneous.edges.weights, own_outputs.homogeneous.edges.weights)
            torch.testing.assert_close(terms["total"], pair.objective.weighted(own_terms)["total"])


def test_weights_of_terms_may_differ():
    pairs = [Pair(*build("dmd", f"objective.weights.margin={weight}", seed=0)).eval() for weight in (0.0, 1.0)]
    found = forward_together(pairs, [batch()] * 2, [torch.Generator()] * 2)
    totals = [terms["total"] for _, terms in found]
    torch.testing.assert_close(totals[1] - totals[0], found[0][1]["margin"])
    assert found[0][1]["margin"] > 0


def test_what_is_not_trained_is_each_ones_own_where_it_differs():
    """A random projection, for example; a part that stays in evaluation mode does."""
    pairs = [Pair(*build("dmd", seed=k)).train() for k in range(2)]
    for k, pair in enumerate(pairs):
        pair.network.projection["vision"].register_buffer("offset", torch.full((8,), float(k)))
        pair.network.projection["vision"].register_forward_hook(lambda module, _, out: (out[0] + module.offset, out[1]))
        pair.network.projection.requires_grad_(False)
        pair.network.homogeneous.eval()
    data = [batch(6, seed=0)] * 2
    together = forward_together(pairs, data, [torch.Generator().manual_seed(k) for k in range(2)])
    for k, (pair, (outputs, _)) in enumerate(zip(pairs, together, strict=True)):
        torch.manual_seed(k)
        torch.testing.assert_close(outputs.prediction, pair(data[k])[0].prediction)


def test_a_term_without_weight_gives_no_gradient_not_one_of_zero():
    def root(outputs, label):
        return outputs.prediction.mul(0).square().sum().sqrt()  # its derivative is infinite

    parts = [build("dmd", seed=k) for k in range(2)]
    pairs = [Pair(network, Objective(weights={"task_fused": 1.0, "root": 0.0}, terms={"root": root})) for network, _ in parts]
    together = forward_together(pairs, [batch()] * 2, [torch.Generator()] * 2)
    torch.autograd.backward([terms["total"] for _, terms in together])
    for pair in pairs:
        assert all(p.grad is None or p.grad.isfinite().all() for p in pair.parameters())
        assert pair.network.decoupling.similarity["language"].weight.grad is None  # which no term with a weight reads


def test_running_means_are_refused():
    network, objective = build("dmd")
    network.norm = torch.nn.BatchNorm1d(3)
    with pytest.raises(UsageError, match="norm is a BatchNorm"):
        Pair(network, objective)


def test_masks_of_one_replica_do_not_depend_on_the_others():
    pairs = [Pair(*build("dmd", seed=k)).train() for k in range(2)]
    data = [batch(6, seed=k) for k in range(2)]
    first = [
        forward_together(pairs, data, [torch.Generator().manual_seed(s) for s in seeds])[0][0].prediction for seeds in ((1, 2), (1, 3))
    ]
    other = forward_together(pairs, data, [torch.Generator().manual_seed(s) for s in (4, 2)])[0][0].prediction
    assert torch.equal(*first)
    assert not torch.equal(first[0], other)


def test_what_sees_all_replicas_knows_how_many():
    seen = []

    def one(x):
        seen.append((replicas(), mapped(), of_all(x).tolist()))
        return x

    with side_by_side([torch.Generator()] * 2):
        torch.vmap(one)(torch.tensor([1.0, 2.0]))
    assert seen == [(2, True, [1.0, 2.0])]
    assert (replicas(), mapped(), of_all(torch.tensor(3.0)).tolist()) == (1, False, [3.0])
