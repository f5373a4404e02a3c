"""Sequences packed to their real frames, against the same sequences with their padding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dhmd.nn import encoder
from dhmd.nn.attention import attend
from dhmd.nn.cpu import packing
from dhmd.nn.cpu.attention_mask import Visibility
from dhmd.nn.cpu.packing import Packed, Padded, arrangement
from dhmd.nn.encoder import Encoders, Rates

BATCH, WIDTH = 5, 12
CPU = torch.device("cpu")


def mask(length, spans):
    """(B, T), the frames of each sample that are real."""
    at = torch.arange(length)
    return torch.stack([(at >= first) & (at < first + count) for first, count in spans])


def random_mask(length, seed):
    """Each sample with one real frame at least, somewhere."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, length + 1, (BATCH,), generator=generator)
    firsts = [int(torch.randint(length - n + 1, (), generator=generator)) for n in counts.tolist()]
    return mask(length, list(zip(firsts, counts.tolist(), strict=True)))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_what_is_packed_is_put_back(spans, seed):
    real = mask(9, spans)
    packed = Packed((real,), *real.shape)
    x = torch.randn(*real.shape, 2, 3, generator=torch.Generator().manual_seed(seed))
    rows = packed.arranged(x)
    assert rows.shape[:2] == (1, packing.ROUND)
    assert rows.shape[2:] == x.shape[2:]
    back = packed.restored(rows)
    torch.testing.assert_close(back[real], x[real], rtol=0, atol=0)
    for b, shift in enumerate(packed.shifts):
        for t in real[b].nonzero().flatten().tolist():
            assert torch.equal(rows[0, t + shift], x[b, t])
    kept = real.any(1)
    torch.testing.assert_close(packed.last(rows.expand(-1, -1, 2, -1), (real, real))[0, kept], Padded().last(x, (real, real))[kept, 0])


def test_gradients_go_back_to_where_values_came_from():
    real = mask(9, [(2, 3), (0, 9), (5, 0)])
    packed = Packed((real,), *real.shape)
    x = torch.randn(3, 9, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(packed.arranged, x)
    assert torch.autograd.gradcheck(packed.restored, packed.arranged(x).detach().requires_grad_())


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_encoders_give_and_learn_the_same(causal, cross, last, monkeypatch):
    torch.manual_seed(0)
    made = Encoders(("a", "b"), WIDTH, 3, 3, (0.0, 0.0), Rates(), causal).double()
    masks, source_masks = (random_mask(30, 1), random_mask(30, 2)), (random_mask(40, 3), None)
    values = [torch.randn(BATCH, n, WIDTH, dtype=torch.float64) for n in (30, 30, 40, 40)]
    found, frames = [], []
    linear = encoder.grouped_linear
    monkeypatch.setattr(encoder, "grouped_linear", lambda x, *rest, **more: (frames[-1].add(x.shape[:2]), linear(x, *rest, **more))[1])
    for worth in (10**9, 0):
        monkeypatch.setattr(packing, "WORTH", worth)
        frames.append(set())
        made.zero_grad()
        x = [value.clone().requires_grad_() for value in values]
        out = made(x[:2], masks, x[2:], source_masks, last=last) if cross else made(x[:2], masks, last=last)
        out = out if last else [y * real.unsqueeze(-1) for y, real in zip(out, masks, strict=True)]
        torch.manual_seed(1)
        sum((y * torch.randn_like(y)).sum() for y in out).backward()
        found.append([*out, *(p.grad for p in made.parameters()), *(one.grad for one in x[: 4 if cross else 2])])
    assert {batch for batch, _ in frames[0]} == {BATCH}
    assert {batch for batch, _ in frames[1]} == {1}
    for packed, padded in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(packed, padded)


def test_only_much_padding_is_worth_it():
    def held(queries, keys, shape):
        return [type(x) for x in arrangement(Visibility(queries, keys, shape, causal=False), CPU)[1:]]

    much, little = mask(300, [(0, 100), (100, 150)]), mask(300, [(0, 280), (0, 270)])
    assert held((much,), (much,), (2, 300, 300)) == [Packed, Packed]
    assert held((None,), (much,), (2, 20, 300)) == [Packed, Packed]
    assert held((little,), (little,), (2, 300, 300)) == [Padded, Padded]
    assert held((None,), (None,), (2, 300, 300)) == [Padded, Padded]
    nothing = mask(300, [(0, 0), (0, 10)])
    assert held((much,), (nothing,), (2, 300, 300)) == [Padded, Padded], "a sample without keys"
    assert held((nothing,), (much,), (2, 300, 300)) == [Packed, Packed]


def test_dropped_weights_of_packed_samples_have_the_mean_and_gradients_of_their_masks(monkeypatch):
    real = mask(9, [(2, 3), (0, 9)])
    visibility, packed, _ = packed_visibility(real, monkeypatch)
    torch.manual_seed(0)
    q, k, v = (packed.arranged(torch.randn(2, 9, 8, dtype=torch.float64)).view(1, 1, -1, 2, 4).permute(0, 1, 3, 4, 2) for _ in range(3))
    rows = slice(0, packed.count)
    whole = attend(q, k, v, visibility, (0.0,))[..., rows]
    dropped = torch.stack([attend(q, k, v, visibility, (0.3,))[..., rows] for _ in range(1500)])
    torch.testing.assert_close(dropped.mean(0), whole, rtol=0, atol=0.1)
    assert dropped.std(0).min() > 0

    def once(*x):
        torch.manual_seed(1)
        return attend(*x, visibility, (0.3,))[..., rows]

    assert torch.autograd.gradcheck(once, [x[..., rows].detach().clone().requires_grad_() for x in (q, k, v)])


def packed_visibility(real, monkeypatch):
    """Sequences that attend to themselves."""
    monkeypatch.setattr(packing, "WORTH", 0)
    return arrangement(Visibility((real,), (real,), (len(real), real.shape[1], real.shape[1]), causal=False), CPU)
