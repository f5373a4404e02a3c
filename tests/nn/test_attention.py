import math

import pytest
import torch

from dhmd.nn.attention import (
    EXPLICIT_BELOW,
    AttentionDropout,
    MultiheadAttention,
    TransformerEncoder,
    attend,
    position_vectors,
    visible_keys,
)

DEVICE = torch.device("cpu")


def explicit(layer, query, key, value, visible):
    """Softmax attention written out, head by head."""
    d = query.shape[-1]
    w, b = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k, v = (x @ w[i].T + b[i] for i, x in enumerate((query, key, value)))
    size = d // layer.heads
    heads = []
    for h in range(layer.heads):
        s = slice(h * size, (h + 1) * size)
        scores = q[..., s] @ k[..., s].transpose(1, 2) / math.sqrt(size)
        if visible is not None:
            scores = scores.masked_fill(~visible[:, 0].expand(scores.shape), -1e9)
        heads.append(scores.softmax(-1) @ v[..., s])
    return layer.out_proj(torch.cat(heads, -1))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_the_formula(causal):
    layer = MultiheadAttention(12, 3, 0.0)
    torch.nn.init.normal_(layer.in_proj_bias)
    q, k, v = torch.randn(2, 4, 12), torch.randn(2, 6, 12), torch.randn(2, 6, 12)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[0, 4:] = False
    visible = visible_keys(None, mask, (4, 6), causal, DEVICE)
    torch.testing.assert_close(layer(q, k, v, visible), explicit(layer, q, k, v, visible))
    torch.testing.assert_close(layer(q, q, q, None), explicit(layer, q, q, q, None))


@pytest.mark.parametrize("rows", [4, EXPLICIT_BELOW // 6 + 1])
@pytest.mark.parametrize("masked", [False, True])
def test_both_forms_of_attention_are_the_formula(rows, masked):
    q, k, v = (torch.randn(2, 3, n, 5, dtype=torch.float64) for n in (rows, 6, 6))
    visible = torch.tensor([[True] * 6, [True] * 2 + [False] * 4]).view(2, 1, 1, 6) if masked else None
    scores = q @ k.transpose(-1, -2) / math.sqrt(5)
    if visible is not None:
        scores = scores.masked_fill(~visible, -math.inf)
    torch.testing.assert_close(attend(q, k, v, visible, 0.0), scores.softmax(-1) @ v)


def test_dropout_of_attention_weights_keeps_their_expectation():
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 1, 3, 5), torch.randn(1, 1, 8, 5), torch.randn(1, 1, 8, 5)
    dropped = torch.stack([attend(q, k, v, None, 0.3) for _ in range(4000)])
    assert dropped.std(0).min() > 0
    torch.testing.assert_close(dropped.mean(0), attend(q, k, v, None, 0.0), rtol=0, atol=0.06)


def test_a_query_without_a_key_attends_to_nothing():
    layer = MultiheadAttention(8, 2, 0.0)
    torch.nn.init.normal_(layer.out_proj.bias)
    x = torch.randn(2, 3, 8, requires_grad=True)
    mask = torch.tensor([[True, True, True], [False, False, False]])
    out = layer(x, x, x, visible_keys(mask, mask, (3, 3), False, DEVICE))
    assert out[1].eq(0).all()
    assert out[0].ne(0).all()
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_causal_reach_without_padding_is_the_authors():
    """triu(-inf, 1 + |T_q - T_k|): query i sees keys up to i + |T_q - T_k|."""
    visible = visible_keys(None, None, (3, 5), True, DEVICE)
    authors = torch.triu(torch.ones(3, 5), 1 + 2) == 0
    assert torch.equal(visible[0, 0], authors)


def test_causal_reach_counts_real_frames():
    query = torch.tensor([[False, True, True]])  # two real, padded on the left
    key = torch.tensor([[True, True, True, False]])  # three real, padded on the right
    visible = visible_keys(query, key, (3, 4), True, DEVICE)
    assert visible[0, 0, 1].tolist() == [True, True, False, False]
    assert visible[0, 0, 2].tolist() == [True, True, True, False]
    assert visible_keys(None, None, (3, 5), False, DEVICE) is None


def test_position_vectors():
    """Sine half then cosine half, frequencies 10000^(-i / (D/2 - 1)), row 0 zero, an odd width padded."""
    found = position_vectors(torch.tensor([[0, 1, 2]]), 5)[0]
    assert found[0].eq(0).all()
    for t in (1, 2):
        expected = [math.sin(t), math.sin(t / 10000), math.cos(t), math.cos(t / 10000), 0]
        torch.testing.assert_close(found[t], torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_positions_count_from_the_first_real_frame_or_as_the_authors_do():
    x = torch.zeros(1, 4, 6)
    x[0, 1:3] = 1
    mask = torch.tensor([[False, True, True, False]])
    ours = TransformerEncoder(6, 2, 1, AttentionDropout())
    added = ours._embed(x, mask) - math.sqrt(6) * x
    torch.testing.assert_close(added[0, 1:3], position_vectors(torch.tensor([[1, 2]]), 6)[0])
    assert added[0, 0].eq(0).all()
    authors = TransformerEncoder(6, 2, 1, AttentionDropout(), zero_is_padding=True)
    added = authors._embed(x, None) - math.sqrt(6) * x
    torch.testing.assert_close(added, position_vectors(torch.tensor([[0, 2, 3, 0]]), 6))


def test_initialisation():
    encoder = TransformerEncoder(60, 6, 1, AttentionDropout())
    layer = encoder.layers[0]
    bound = math.sqrt(6 / (60 + 180))
    assert layer.attention.in_proj_weight.abs().max() <= bound
    assert layer.attention.in_proj_weight.abs().max() > 0.9 * bound
    for bias in (layer.attention.in_proj_bias, layer.attention.out_proj.bias, layer.fc1.bias, layer.fc2.bias):
        assert bias.eq(0).all()


def test_embedding_dropout_draws_for_query_key_and_value_apart():
    torch.manual_seed(0)
    encoder = TransformerEncoder(8, 2, 1, AttentionDropout(embedding=0.5)).train()
    seen = []
    encoder.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args))
    x = torch.randn(1, 5, 8)
    encoder(x, None, x, None)
    query, (key, value), _ = seen[0]
    zeros = [(t == 0) for t in (query, key, value)]
    assert not torch.equal(zeros[0], zeros[1])
    assert not torch.equal(zeros[1], zeros[2])


def test_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="width 10 is not a multiple of the number of heads 3"):
        MultiheadAttention(10, 3, 0.0)
