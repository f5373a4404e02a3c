"""The transformer of MulT as DMD's authors use it, on (T, B, D), with explicit attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoids(rows: int, width: int) -> Tensor:
    """Return positions (rows, width): [sine half | cosine half]; row 0, which stands for padding, is zero."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float) * -(math.log(10000) / (half - 1)))
    angle = torch.arange(rows, dtype=torch.float).unsqueeze(1) * frequency
    table = torch.cat([angle.sin(), angle.cos()], dim=1)
    if width % 2:
        table = torch.cat([table, torch.zeros(rows, 1)], dim=1)
    table[0] = 0
    return table


def positions(x: Tensor) -> Tensor:
    """Return positions of x (T, B, D): the frame's index + 1; a frame whose first channel is exactly 0 counts as padding."""
    index = torch.arange(1, x.shape[0] + 1, device=x.device).unsqueeze(1).expand(-1, x.shape[1])
    index = torch.where(x[:, :, 0] != 0, index, 0)
    return sinusoids(x.shape[0] + 1, x.shape[2]).to(x.device)[index]


def future_mask(queries: int, keys: int, device: torch.device) -> Tensor:
    """Return a mask (queries, keys), -inf above the diagonal that lies 1 + |queries - keys| to the right."""
    return torch.full((queries, keys), -math.inf, device=device).triu(1 + abs(queries - keys))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float) -> Tensor:
    """Return softmax(q k^T + mask) v by two ``bmm``, with dropout; q (B * heads, T_q, d), scaled, k and v (B * heads, T_k, d)."""
    scores = torch.bmm(q, k.transpose(1, 2))
    scores = scores + mask.unsqueeze(0)
    return torch.bmm(F.dropout(F.softmax(scores, dim=-1), dropout), v)


class MultiheadAttention(nn.Module):
    """Attention of many heads, with one batch item for each sample and head."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend from query (T_q, B, D) to key and value (T_k, B, D): (T_q, B, D)."""
        length, batch, width = query.shape
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q = F.linear(query, weights[0], biases[0]) * (width // self.heads) ** -0.5
        k = F.linear(key, weights[1], biases[1])
        v = F.linear(value, weights[2], biases[2])
        q, k, v = (x.contiguous().view(x.shape[0], batch * self.heads, -1).transpose(0, 1) for x in (q, k, v))
        out = attend(q, k, v, mask, self.dropout if self.training else 0.0)
        result: Tensor = self.out_proj(out.transpose(0, 1).contiguous().view(length, batch, width))
        return result


class EncoderLayer(nn.Module):
    """Layer x + attention(LN0(x), LN0(source)), then x + fc2(relu(fc1(LN1(x)))); the authors drop nothing on these branches."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(width, heads, dropout)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.layer_norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, key: Tensor | None, value: Tensor | None) -> Tensor:
        """Apply the layer to x (T_q, B, D); key and value are (T_k, B, D), or None for self-attention."""
        residual = x
        x = self.layer_norms[0](x)
        if key is None or value is None:
            x = self.self_attn(x, x, x, future_mask(x.shape[0], x.shape[0], x.device))
        else:
            mask = future_mask(x.shape[0], key.shape[0], x.device)
            x = self.self_attn(x, self.layer_norms[0](key), self.layer_norms[0](value), mask)
        x = residual + x
        residual = x
        x = self.fc2(F.relu(self.fc1(self.layer_norms[1](x))))
        return residual + x


class TransformerEncoder(nn.Module):
    """Layers over one sequence, or from one sequence to another that stays unchanged."""

    def __init__(self, width: int, heads: int, layers: int, attention_dropout: float, embedding_dropout: float) -> None:
        super().__init__()
        self.width, self.dropout = width, embedding_dropout
        self.layers = nn.ModuleList(EncoderLayer(width, heads, attention_dropout) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)

    def _embed(self, x: Tensor) -> Tensor:
        return F.dropout(math.sqrt(self.width) * x + positions(x), self.dropout, self.training)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Encode x (T_q, B, D), attending to itself or to source (T_k, B, D)."""
        key, value = (None, None) if source is None else (self._embed(source), self._embed(source))
        x = self._embed(x)
        for layer in self.layers:
            x = layer(x, key, value)
        result: Tensor = self.layer_norm(x)
        return result
