import pytest
import torch

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
