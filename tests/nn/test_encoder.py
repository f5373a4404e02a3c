"""Encoders that run side by side, against torch's own layers one by one."""

import math

import pytest
import torch
import torch.nn.functional as F

from dhmd.nn.encoder import Encoders, Rates
from dhmd.nn.positions import position_vectors
from dhmd.nn.temporal import last_real, real_index

WIDTH, HEADS, LAYERS = 12, 3, 2
MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()


def encoders(names=("a", "b"), causal=False, rates=None, zero_is_padding=False, layers=LAYERS):
    torch.manual_seed(0)
    made = Encoders(names, WIDTH, HEADS, layers, (0.0,) * len(names), rates or Rates(), causal, zero_is_padding)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return made


def embedded(x, mask):
    index = torch.arange(1, x.shape[1] + 1).expand(x.shape[:2]) if mask is None else ((real_index(mask) + 1) * mask).clamp(min=0)
    return math.sqrt(WIDTH) * x + position_vectors(index, WIDTH)


def one_by_one(made, g, x, mask, source=None, source_mask=None):
    """Encoder g with torch's layer norm, linear layers and softmax; no causal mask."""
    p = {name: value[g] if name in ("norm_weight", "norm_bias") else value[:, g] for name, value in made.named_parameters()}
    key_mask = mask if source is None else source_mask
    keys = None if source is None else embedded(source, source_mask)
    x = embedded(x, mask)
    for i in range(made.layers):
        norm = (p["norm_attention_weight"][i], p["norm_attention_bias"][i])
        query = F.layer_norm(x, (WIDTH,), *norm)
        key = query if keys is None else F.layer_norm(keys, (WIDTH,), *norm)
        weights, biases = p["in_proj_weight"][i].chunk(3), p["in_proj_bias"][i].chunk(3)
        q, k, v = (
            F.linear(t, w, b).unflatten(2, (HEADS, -1)).transpose(1, 2) for t, w, b in zip((query, key, key), weights, biases, strict=True)
        )
        scores = q @ k.mT / math.sqrt(WIDTH // HEADS)
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask[:, None, None, :], -math.inf)
        out = F.linear((scores.softmax(-1) @ v).transpose(1, 2).flatten(2), p["out_proj_weight"][i], p["out_proj_bias"][i])
        x = x + (out if key_mask is None else torch.where(key_mask.any(1)[:, None, None], out, 0))
        hidden = F.layer_norm(x, (WIDTH,), p["norm_ffn_weight"][i], p["norm_ffn_bias"][i])
        hidden = F.relu(F.linear(hidden, p["fc1_weight"][i], p["fc1_bias"][i]))
        x = x + F.linear(hidden, p["fc2_weight"][i], p["fc2_bias"][i])
    return F.layer_norm(x, (WIDTH,), p["norm_weight"], p["norm_bias"])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("lengths", [(5, 5), (5, 7)])
@pytest.mark.parametrize("cross", [False, True])
def test_side_by_side_is_one_by_one(cross, lengths, masked):
    made = encoders()
    x = [torch.randn(3, n, WIDTH) for n in lengths]
    masks = tuple(F.pad(MASK, (0, n - 5)) if masked else None for n in lengths)
    sources, source_masks = ([x[1], x[0]], masks[::-1]) if cross else (None, None)
    found, last = (made(x, masks, sources, source_masks, last=last) for last in (False, True))
    for g in range(2):
        expected = one_by_one(made, g, x[g], masks[g], *((sources[g], source_masks[g]) if cross else ()))
        real = slice(None) if masks[g] is None else masks[g]
        torch.testing.assert_close(found[g][real], expected[real], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(last[g], last_real(expected, masks[g]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_the_last_frame_alone_is_that_of_the_sequence(causal):
    made = encoders(causal=causal)
    x, masks = [torch.randn(3, 5, WIDTH) for _ in range(2)], (MASK, None)
    found, last = made(x, masks), made(x, masks, last=True)
    for g in range(2):
        torch.testing.assert_close(last[g], last_real(found[g], masks[g]), rtol=1e-4, atol=1e-5)


def test_a_query_without_a_key_attends_to_nothing():
    """Bias included: what attention adds is 0."""
    made = encoders(layers=1)
    x = torch.randn(3, 5, WIDTH, requires_grad=True)
    whole = (torch.ones(3, 5, dtype=torch.bool),) * 2
    found = made([x, x], whole, [x, x], (MASK, MASK))
    with torch.no_grad():
        made.in_proj_weight.mul_(2)
        made.out_proj_bias.add_(1)
    after = made([x, x], whole, [x, x], (MASK, MASK))
    assert torch.equal(found[0][2], after[0][2])
    assert not torch.isclose(found[0][:2], after[0][:2]).all()
    after[0].sum().backward()
    assert x.grad.isfinite().all()


def test_positions_count_from_the_first_real_frame_or_as_the_authors_do():
    x = torch.zeros(1, 4, WIDTH)
    x[0, 1:3] = 1
    mask = torch.tensor([[False, True, True, False]])
    added = encoders(("a",))._embed(x.unsqueeze(2), (mask,)).squeeze(2) - math.sqrt(WIDTH) * x
    torch.testing.assert_close(added[0, 1:3], position_vectors(torch.tensor([[1, 2]]), WIDTH)[0])
    assert added[0, 0].eq(0).all()
    added = encoders(("a",), zero_is_padding=True)._embed(x.unsqueeze(2), (None,)).squeeze(2) - math.sqrt(WIDTH) * x
    torch.testing.assert_close(added, position_vectors(torch.tensor([[0, 2, 3, 0]]), WIDTH))


def test_position_vectors():
    """Sine half then cosine half, frequencies 10000^(-i / (D/2 - 1)), row 0 zero, an odd width padded."""
    found = position_vectors(torch.tensor([[0, 1, 2]]), 5)[0]
    assert found[0].eq(0).all()
    for t in (1, 2):
        expected = [math.sin(t), math.sin(t / 10000), math.cos(t), math.cos(t / 10000), 0]
        torch.testing.assert_close(found[t], torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_every_encoder_and_layer_is_initialised_by_itself():
    made = Encoders(("a", "b", "c"), 60, 6, 2, (0.0,) * 3, Rates())
    bound = math.sqrt(6 / (60 + 180))
    each = made.in_proj_weight.abs().flatten(2).amax(-1)
    assert each.max() <= bound
    assert each.min() > 0.9 * bound
    assert made.fc1_weight.abs().max() <= math.sqrt(6 / (60 + 240))
    assert not torch.equal(made.fc1_weight[0, 0], made.fc1_weight[0, 1])
    for bias in (made.in_proj_bias, made.out_proj_bias, made.fc1_bias, made.fc2_bias):
        assert bias.eq(0).all()


def test_embedding_dropout_draws_for_query_key_and_value_apart(monkeypatch):
    made = encoders(("a",), rates=Rates(embedding=0.5)).train()
    seen = []
    drop = made._drop
    monkeypatch.setattr(made, "_drop", lambda x, rate: seen.append(drop(x, rate)) or seen[-1])
    x = torch.randn(1, 5, WIDTH)
    made([x], (None,), [x], (None,))
    zeros = [t == 0 for t in seen[:3]]
    assert not torch.equal(zeros[0], zeros[1])
    assert not torch.equal(zeros[1], zeros[2])


def test_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="width 10 is not a multiple of the number of heads 3"):
        Encoders(("a",), 10, 3, 1, (0.0,), Rates())
