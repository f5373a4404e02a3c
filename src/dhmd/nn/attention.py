"""The transformer of MulT as DMD uses it: pre-norm layers, one LayerNorm for query, key and value, a source that layers do not update.

Source: the DMD authors' code; Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.nn.dropout import dropout
from dhmd.nn.temporal import real_index

# queries times keys up to which the explicit form is faster on a CPU than the fused kernel, which has no dropout there at all
EXPLICIT_BELOW = 128 * 128


class AttentionDropout(NamedTuple):
    """Dropout rates of an encoder: attention weights, after the ReLU, on the residual branches, on the embedded input."""

    attention: float = 0.0
    relu: float = 0.0
    residual: float = 0.0
    embedding: float = 0.0


def _sinusoids(index: Tensor, width: int) -> Tensor:
    half = width // 2
    frequency = torch.exp(torch.arange(half, device=index.device) * (-math.log(10000) / max(half - 1, 1)))
    angle = index.unsqueeze(-1) * frequency
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))


@lru_cache(maxsize=64)
def _position_table(rows: int, width: int) -> Tensor:
    table = _sinusoids(torch.arange(rows), width)
    table[0] = 0
    return table


def position_vectors(index: Tensor, width: int) -> Tensor:
    """Sinusoidal positions: sine half, then cosine half, frequencies 10000^(-i / (width / 2 - 1)).

    Args:
        index: (B, T) or (1, T) long, counted from 1; 0 is padding and gets the zero vector.
        width: D; an odd one is padded with a zero.

    Returns:
        index.shape + (D,).
    """
    if torch.compiler.is_compiling():  # a graph for sequences of any length holds no table
        return _sinusoids(index, width) * (index != 0).unsqueeze(-1)
    rows = 1 << (index.shape[1] + 1).bit_length()  # a power of two above T: few tables for many lengths
    return _position_table(rows, width).to(index.device)[index]


def visible_keys(
    query_mask: Tensor | None, key_mask: Tensor | None, shape: tuple[int, int], causal: bool, device: torch.device
) -> Tensor | None:
    """Which keys each query may see; None when all.

    Args:
        query_mask: (B, T_q) bool, or None when every frame is real.
        key_mask: (B, T_k) bool, or None.
        shape: T_q, T_k.
        causal: the query at real index i sees keys up to ``i + |n_q - n_k|``, with n the numbers of real frames.
        device: where the mask is needed.

    Returns:
        (1 or B, 1, 1 or T_q, T_k) bool.
    """
    visible = None if key_mask is None else key_mask[:, None, None, :]
    if not causal:
        return visible
    q_mask = torch.ones(1, shape[0], dtype=torch.bool, device=device) if query_mask is None else query_mask
    k_mask = torch.ones(1, shape[1], dtype=torch.bool, device=device) if key_mask is None else key_mask
    reach = (q_mask.sum(1) - k_mask.sum(1)).abs().view(-1, 1, 1)
    earlier = real_index(k_mask).unsqueeze(1) <= real_index(q_mask).unsqueeze(2) + reach
    return earlier.unsqueeze(1) if visible is None else visible & earlier.unsqueeze(1)


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, rate: float) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, the weights dropped at ``rate``; 0 for a query that sees no key.

    Args:
        q: (B, heads, T_q, d).
        k: (B, heads, T_k, d).
        v: (B, heads, T_k, d).
        visible: (1 or B, 1, 1 or T_q, T_k) bool, or None for all.
        rate: of dropout.
    """
    sees_any = None if visible is None else visible.any(dim=-1, keepdim=True)
    if visible is not None and sees_any is not None:
        visible = visible | ~sees_any  # a row of -inf would give NaN and poison the gradient: it sees all, and its result is dropped
    small = not torch.compiler.is_compiling() and q.shape[2] * k.shape[2] <= EXPLICIT_BELOW  # a graph for any length cannot choose
    if q.device.type == "cpu" and (rate > 0 or small):
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if visible is not None:
            scores = scores + torch.zeros_like(visible, dtype=q.dtype).masked_fill_(~visible, -math.inf)
        heads = dropout(scores.softmax(dim=-1), rate, training=True) @ v
    else:
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=rate)
    return heads if sees_any is None else torch.where(sees_any, heads, 0)


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention with packed projections (D, 3 D), biases, and query, key and value of their own."""

    def __init__(self, width: int, heads: int, rate: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the number of heads {heads}")
        self.heads, self.rate = heads, rate
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> Tensor:
        """Attend from query (B, T_q, D) to key and value (B, T_k, D): (B, T_q, D).

        A query that sees no key gives 0.
        """
        if query is key is value:
            projected = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
            projected = tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        q, k, v = (x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2) for x in projected)
        heads = attend(q, k, v, visible, self.rate if self.training else 0.0)
        out: Tensor = self.out_proj(heads.transpose(1, 2).flatten(2))
        return out if visible is None else torch.where(visible.any(dim=-1).any(dim=1).unsqueeze(-1), out, 0)


class EncoderLayer(nn.Module):
    """x + attention(LN0(x), LN0(source)), then x + fc2(relu(fc1(LN1(x))))."""

    def __init__(self, width: int, heads: int, rates: AttentionDropout) -> None:
        super().__init__()
        self.rates = rates
        self.attention = MultiheadAttention(width, heads, rates.attention)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.norm_attention = nn.LayerNorm(width)
        self.norm_ffn = nn.LayerNorm(width)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, source: tuple[Tensor, Tensor] | None, visible: Tensor | None) -> Tensor:
        """One layer on x (B, T_q, D); source is (key, value), each (B, T_k, D), or None for self-attention."""
        query = self.norm_attention(x)
        key, value = (query, query) if source is None else (self.norm_attention(source[0]), self.norm_attention(source[1]))
        x = x + dropout(self.attention(query, key, value, visible), self.rates.residual, self.training)
        hidden = dropout(F.relu(self.fc1(self.norm_ffn(x))), self.rates.relu, self.training)
        return x + dropout(self.fc2(hidden), self.rates.residual, self.training)


class TransformerEncoder(nn.Module):
    """A stack of layers over one sequence, or from one modality's sequence to another's.

    Args:
        width: D.
        heads: attention heads; D must be a multiple.
        layers: how many.
        rates: of dropout.
        causal: see :func:`visible_keys`.
        zero_is_padding: give frames whose first channel is exactly 0 the zero position, as the authors do; else positions count
            from the first real frame.
    """

    def __init__(
        self, width: int, heads: int, layers: int, rates: AttentionDropout, causal: bool = False, zero_is_padding: bool = False
    ) -> None:
        super().__init__()
        self.width, self.rates, self.causal, self.zero_is_padding = width, rates, causal, zero_is_padding
        self.layers = nn.ModuleList(EncoderLayer(width, heads, rates) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def _embed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            index = torch.arange(1, x.shape[1] + 1, device=x.device).unsqueeze(0)
        else:
            index = ((real_index(mask) + 1) * mask).clamp(min=0)
        if self.zero_is_padding:
            index = index * (x[..., 0] != 0)
        return math.sqrt(self.width) * x + position_vectors(index, self.width).to(x.dtype)

    def forward(self, x: Tensor, mask: Tensor | None, source: Tensor | None = None, source_mask: Tensor | None = None) -> Tensor:
        """Encode x (B, T_q, D), attending to itself or to source (B, T_k, D): (B, T_q, D).

        Masks are (B, T_q) and (B, T_k), or None where every frame is real. Frames that are padding come out undefined.
        """
        keys = x if source is None else source
        key_mask = mask if source is None else source_mask
        visible = visible_keys(mask, key_mask, (x.shape[1], keys.shape[1]), self.causal, x.device)
        rate = self.rates.embedding
        pair = None
        if source is not None:
            embedded = self._embed(source, source_mask)
            pair = (dropout(embedded, rate, self.training), dropout(embedded, rate, self.training))
        x = dropout(self._embed(x, mask), rate, self.training)
        for layer in self.layers:
            x = layer(x, pair, visible)
        out: Tensor = self.norm(x)
        return out
