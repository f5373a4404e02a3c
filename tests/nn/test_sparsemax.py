import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dhmd.nn.sparsemax import sparsemax


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40), st.floats(0.01, 20), st.integers(0, 10_000))
def test_equals_entmax(rows, size, scale, seed):
    entmax = pytest.importorskip("entmax", reason="the reference implementation is in the extra 'dev'")
    x = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * scale
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = sparsemax(ours), entmax.sparsemax(theirs, dim=-1)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(out.sum(-1), torch.ones(rows))
    weight = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_gradcheck():
    x = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sparsemax, x)


def test_is_the_projection():
    """By hand: the projection of (0.5, 0.2, -1) onto the simplex adds 0.15 to the first two."""
    torch.testing.assert_close(sparsemax(torch.tensor([0.5, 0.2, -1.0])), torch.tensor([0.65, 0.35, 0.0]))


def test_large_scores_stay_exact():
    torch.testing.assert_close(sparsemax(torch.tensor([1e4, 1e4 - 0.5, 0.0])), torch.tensor([0.75, 0.25, 0.0]))


def test_nan_comes_out_as_nan():
    assert sparsemax(torch.tensor([[float("nan"), 1.0], [0.0, 5.0]])).isnan().tolist() == [[True, True], [False, False]]
