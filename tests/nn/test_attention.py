"""Attention in tiles against softmax attention written out, and against torch's fused kernels."""

import math

import pytest
import torch

from dhmd.nn.attention import LN2, attend
from dhmd.nn.cpu import attention_mask
from dhmd.nn.cpu.attention_mask import Visibility

MASK = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()


def written_out(q, k, v, visibility):
    """Softmax over the keys that are seen, head by head; 0 where there is none."""
    scores = torch.einsum("gbhdq,gbhdk->gbhqk", q, k) * LN2
    if visibility.visible is not None:
        scores = scores.masked_fill(~visibility.visible.unsqueeze(2), -math.inf)
    return torch.einsum("gbhqk,gbhdk->gbhdq", scores.softmax(-1).nan_to_num(), v)


def inputs(groups, batch, n_q, n_k, scale=1.0, heads=2, width=5):
    torch.manual_seed(0)
    shapes = (n_q, n_k, n_k)
    return [(scale * torch.randn(groups, batch, heads, width, n, dtype=torch.float64)).requires_grad_() for n in shapes]


def both(visibility, scale=1.0, tile=2**18):
    """Outputs at real queries and gradients, in tiles and written out."""
    found = []
    real = torch.stack([torch.ones(visibility.shape[:2], dtype=torch.bool) if m is None else m for m in visibility.queries])[
        :, :, None, None
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_mask, "TILE", tile)
        for compute in (lambda *x: attend(*x, visibility, (0.0,) * len(visibility.keys)), lambda *x: written_out(*x, visibility)):
            x = inputs(len(visibility.keys), *visibility.shape, scale)
            out = torch.where(real, compute(*x), 0)
            torch.manual_seed(1)
            (out * torch.randn_like(out)).sum().backward()
            found.append((out.detach(), *(t.grad for t in x)))
    return found


@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("tile", [40, 200, 2**18])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", ["neither", "queries", "keys", "both"])
def test_blocks_of_any_size_give_what_is_written_out(masked, causal, tile, scale):
    queries = (None, MASK[:, :4]) if masked in ("queries", "both") else (None, None)
    keys = (MASK, None) if masked in ("keys", "both") else (None, None)
    tiles, expected = both(Visibility(queries, keys, (3, 4, 6), causal), scale, tile)
    for found, wanted in zip(tiles, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_autocast_leaves_sums_of_powers_in_float32():
    """A logarithm of a sum in bf16 would be wrong by percents, and all weights with it."""
    visibility, found = Visibility((None,), (None,), (2, 40, 50), False), []
    for enabled in (False, True):
        x = [t.detach().bfloat16().float().requires_grad_() for t in inputs(1, 2, 40, 50)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = attend(*x, visibility, (0.0,))
            out.square().sum().backward()
        found.append((out.detach(), *(t.grad for t in x)))
    for plain, cast in zip(*found, strict=True):
        assert cast.dtype == torch.float32
        torch.testing.assert_close(cast, plain)


def test_scores_that_would_overflow_do_not():
    q, k, v = (x.detach().float() * 1e4 for x in inputs(1, 2, 3, 4))
    visibility = Visibility((None,), (None,), (2, 3, 4), False)
    assert attend(q, k, v, visibility, (0.0,)).isfinite().all()
    torch.testing.assert_close(attend(q, k, v, visibility, (0.0,)), written_out(q, k, v, visibility))


def test_torchs_fused_kernels_give_the_same(monkeypatch):
    visibility = Visibility((None, MASK[:, :4]), (MASK, None), (3, 4, 6), True)
    x = inputs(2, 3, 4, 6)
    in_tiles = attend(*x, visibility, (0.0, 0.0))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    real = torch.ones(2, 3, 1, 1, 4, dtype=torch.bool)
    real[1] = MASK[:, None, None, :4]
    torch.testing.assert_close(torch.where(real, attend(*x, visibility, (0.0, 0.0)), 0), torch.where(real, in_tiles, 0))


def test_gradients_are_those_of_the_dropped_weights():
    """Masks are drawn again in the backward pass: the same ones."""
    visibility = Visibility((None,) * 2, (None, MASK[:2, :5]), (2, 2, 5), False)

    def once(*x):
        torch.manual_seed(3)
        return attend(*x, visibility, (0.4, 0.2))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_mask, "TILE", 5)
        assert torch.autograd.gradcheck(once, inputs(2, 2, 2, 5, heads=1, width=2), eps=1e-6, atol=1e-5)
        assert torch.equal(once(*inputs(2, 2, 2, 5)), once(*inputs(2, 2, 2, 5)))


def test_dropout_of_attention_weights_keeps_their_expectation_by_group():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 1, 1, 5, 3), torch.randn(2, 1, 1, 5, 8), torch.randn(2, 1, 1, 5, 8)
    visibility = Visibility((None,) * 2, (None,) * 2, (1, 3, 8), False)
    dropped = torch.stack([attend(q, k, v, visibility, (0.3, 0.0)) for _ in range(1500)])
    assert dropped[:, 0].std(0).min() > 0
    assert dropped[:, 1].std(0).max() == 0
    torch.testing.assert_close(dropped.mean(0), attend(q, k, v, visibility, (0.0, 0.0)), rtol=0, atol=0.1)


def test_memory_is_linear_in_the_number_of_frames():
    """No array of the size queries x keys is alive, in neither direction and with dropout."""
    n = 3000
    x = [t.detach().float().requires_grad_() for t in inputs(1, 1, n, n)]
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.untyped_storage().nbytes() for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, torch.Tensor))
            return out

    with Watch():
        attend(*x, Visibility((None,), (None,), (1, n, n), True), (0.3,)).sum().backward()
    assert max(sizes) <= 3 * 4 * attention_mask.TILE < 2 * n * n * 4 / 10  # the three arrays that tiles are computed in


def test_causal_reach_without_padding_is_the_authors():
    """triu(-inf, 1 + |T_q - T_k|): query i sees keys up to i + |T_q - T_k|."""
    visible = Visibility((None,), (None,), (1, 3, 5), True).visible
    assert torch.equal(visible[0, 0], torch.triu(torch.ones(3, 5), 1 + 2) == 0)


def test_causal_reach_counts_real_frames():
    query = torch.tensor([[False, True, True]])  # two real, padded on the left
    key = torch.tensor([[True, True, True, False]])  # three real, padded on the right
    visible = Visibility((query,), (key,), (1, 3, 4), True).visible
    assert visible[0, 0, 1].tolist() == [True, True, False, False]
    assert visible[0, 0, 2].tolist() == [True, True, True, False]
    assert Visibility((query,), (None,), (1, 3, 5), False).visible is None
