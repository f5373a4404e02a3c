import pytest
import torch

from dhmd.nn.dictionary import POOLS, SharedDictionary

ONE = ("language",)


@pytest.mark.parametrize("pool", ["max", "mean", "sum"])
@pytest.mark.parametrize("activation", ["sparsemax", "softmax", "sigmoid"])
def test_padding_changes_nothing_and_activations_are_a_distribution(pool, activation):
    block = SharedDictionary(ONE, 6, entries=16, pool=pool, activation=activation)
    x = torch.randn(2, 4, 6)
    bare = block({"language": x}, {"language": None})
    padded = torch.cat([torch.randn(2, 3, 6), x, torch.randn(2, 2, 6)], dim=1)
    mask = torch.tensor([[False] * 3 + [True] * 4 + [False] * 2] * 2)
    found = block({"language": padded}, {"language": mask})
    torch.testing.assert_close(found.activations["language"], bare.activations["language"])
    torch.testing.assert_close(found.codes["language"], bare.codes["language"])
    torch.testing.assert_close(found.activations["language"].sum(-1), torch.ones(2))
    torch.testing.assert_close(found.codes["language"].norm(dim=-1), torch.ones(2))


def test_a_sample_without_frames_has_no_code_and_a_finite_gradient():
    block = SharedDictionary(ONE, 6, entries=16, detach=False)
    x = torch.randn(2, 4, 6, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    found = block({"language": x}, {"language": mask})
    assert found.codes["language"][1].eq(0).all()
    assert found.activations["language"][1].eq(0).all()
    found.codes["language"].sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in block.parameters())


@pytest.mark.parametrize("detach", [True, False])
def test_detach(detach):
    block = SharedDictionary(ONE, 6, entries=16, detach=detach)
    x = torch.randn(2, 4, 6, requires_grad=True)
    block({"language": x}, {"language": None}).codes["language"].sum().backward()
    assert (x.grad is None) == detach
    assert block.entries.grad is not None


def test_options_of_size_and_start():
    torch.manual_seed(0)
    assert SharedDictionary(ONE, 6, entries=16, width=9).entries.shape == (16, 9)
    assert SharedDictionary(ONE, 40, entries=400).entries.std().item() == pytest.approx(1, abs=0.02)
    xavier = SharedDictionary(ONE, 40, entries=400, init="xavier").entries.std().item()
    assert xavier == pytest.approx((2 / 440) ** 0.5, rel=0.03)


def test_temperature_divides_the_scores():
    """A hot dictionary spreads its activations over more entries."""
    torch.manual_seed(0)
    x = {"language": torch.randn(8, 4, 6)}
    cold, hot = SharedDictionary(ONE, 6, entries=64, temperature=0.5), SharedDictionary(ONE, 6, entries=64, temperature=20)
    hot.load_state_dict(cold.state_dict())
    active = [(d(x, {"language": None}).activations["language"] > 0).sum().item() for d in (cold, hot)]
    assert active[0] < active[1]


def test_max_pooling_gives_the_gradients_of_all_scores():
    torch.manual_seed(0)
    queries, entries = torch.randn(2, 5, 6, requires_grad=True), torch.randn(16, 6, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False, True, True, False, False]])
    pooled = (queries @ entries.T).masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1)
    wanted = torch.autograd.grad(pooled.square().sum(), (queries, entries))
    found = POOLS["max"](queries, entries, mask)
    torch.testing.assert_close(found, pooled)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), (queries, entries)), wanted)
