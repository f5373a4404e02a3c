import pytest
import torch

from dhmd.nn.cpu.dropout_tables import BLOCK, dropout_mask
from dhmd.nn.dropout import dropout


def test_is_the_identity_where_nothing_is_dropped():
    x = torch.randn(3)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drops_at_its_rate_and_scales_the_rest(rate):
    torch.manual_seed(0)
    x = torch.ones(200_000, requires_grad=True)
    y = dropout(x, rate, training=True)
    assert (y == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert y[y != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_a_seed_fixes_a_mask_and_two_seeds_give_two_that_are_independent():
    n = 3 * BLOCK // 2  # more than the table holds
    masks = torch.stack([dropout_mask((n,), 0.3, seed) for seed in range(20)])
    assert torch.equal(masks[7], dropout_mask((n,), 0.3, 7))
    assert masks.unique().tolist() == pytest.approx([0, 1 / 0.7])
    centred = masks - 1
    correlation = centred @ centred.T / (centred.norm(dim=1)[:, None] * centred.norm(dim=1))
    assert (correlation - torch.eye(20)).abs().max() < 6 / n**0.5
    later = centred[:, 1:] * centred[:, :-1]
    assert later.mean(1).abs().max() < 6 * centred.var() / n**0.5, "neighbours are independent, too"
