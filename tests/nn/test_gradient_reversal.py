"""Gradient reversal is the identity forward and multiplies by a negative number backward."""

import pytest
import torch

from dhmd.nn.gradient_reversal import reverse_gradient


@pytest.mark.parametrize("scale", [0.0, 0.8, 1.0, 3.0])
def test_forward_is_exact_and_backward_is_scaled(scale):
    torch.manual_seed(0)
    x = (torch.randn(5, 3) * torch.tensor([1e-6, 1.0, 1e6])).requires_grad_()
    weight = torch.randn(5, 3)
    y = reverse_gradient(x, scale)
    assert torch.equal(y, x)
    (y * weight).sum().backward()
    torch.testing.assert_close(x.grad, -scale * weight, rtol=1e-6, atol=1e-7)
