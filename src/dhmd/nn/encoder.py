"""The transformer of MulT as DMD uses it: pre-norm layers, one LayerNorm for query, key and value, and a fixed source.

Encoders of one size run side by side: every array of weights has an axis of layers and one of encoders, activations are (B, T, G, D).
Source: the DMD authors' code; Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import gcd
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.nn.attention import attend
from dhmd.nn.cpu.attention import LN2
from dhmd.nn.cpu.attention_mask import Masks, Visibility, filled
from dhmd.nn.cpu.packing import Packed, Padded, arrangement
from dhmd.nn.dropout import dropout
from dhmd.nn.positions import position_vectors
from dhmd.nn.temporal import real_index

LONG = 512  # frames from which on oneDNN's convolution is slow
FEW = 16  # images below which torch uses another library if it has one thread


class Rates(NamedTuple):
    """Dropout rates of encoders, except for attention weights: after the ReLU, on the residual branches, on the embedded input."""

    relu: float = 0.0
    residual: float = 0.0
    embedding: float = 0.0


def grouped_linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """Apply a linear layer for each of G groups, perhaps with a ReLU: x (B, T, G, I), weight (G, O, I), bias (G, O) to (B, T, G, O)."""
    batch, frames, groups, inside = x.shape
    if x.device.type != "cpu":
        rows = x.reshape(batch * frames, groups, inside).transpose(0, 1)
        found = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
        return (found.relu_() if relu else found).transpose(0, 1).reshape(batch, frames, groups, -1)
    # oneDNN's convolution over single frames multiplies narrow matrices up to twice as fast as torch.bmm, long or few ones in pieces
    pieces = 1 if torch.compiler.is_compiling() else gcd(frames, 2 ** max(frames // LONG, (FEW - 1) // batch).bit_length())
    image = x.reshape(batch * pieces, frames // pieces, groups * inside).mT.unsqueeze(2)
    found = F.conv2d(image, weight.reshape(-1, inside, 1, 1), bias.flatten(), groups=groups)
    return (found.relu_() if relu else found).squeeze(2).mT.reshape(batch, frames, groups, -1)


class Encoders(nn.Module):
    """G encoders of one size, each a stack of layers over a sequence, or from one modality's sequence to another's.

    A layer is x + attention(LN0(x), LN0(source)), then x + fc2(relu(fc1(LN1(x)))).

    Args:
        names: names of the encoders.
        width: D.
        heads: number of attention heads; D must be a multiple.
        layers: number of layers.
        attention_dropout: rate of each encoder's attention weights.
        rates: the other dropout rates.
        causal: see ``dhmd.nn.cpu.attention_mask.Visibility``.
        zero_is_padding: whether frames whose first channel is exactly 0 get the zero position, as in the authors' code; else positions
            count from the first real frame.
    """

    no_decay = ("norm_attention_weight", "norm_ffn_weight", "norm_weight")  # read by `dhmd.models.base.undecayed`

    def __init__(
        self,
        names: tuple[str, ...],
        width: int,
        heads: int,
        layers: int,
        attention_dropout: tuple[float, ...],
        rates: Rates,
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the number of heads {heads}")
        self.names, self.width, self.heads, self.layers = names, width, heads, layers
        self.attention_dropout, self.rates = attention_dropout, rates
        self.causal, self.zero_is_padding = causal, zero_is_padding
        each = (layers, len(names))
        for name, (out, inside) in {
            "in_proj": (3 * width, width),
            "out_proj": (width, width),
            "fc1": (4 * width, width),
            "fc2": (width, 4 * width),
        }.items():
            weight = torch.empty(*each, out, inside)
            for one in weight.flatten(0, 1):
                nn.init.xavier_uniform_(one)
            self.register_parameter(f"{name}_weight", nn.Parameter(weight))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(*each, out)))
        for name, shape in {"norm_attention": each, "norm_ffn": each, "norm": each[1:]}.items():
            self.register_parameter(f"{name}_weight", nn.Parameter(torch.ones(*shape, width)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(*shape, width)))

    def forward(
        self,
        x: Sequence[Tensor],
        masks: Masks,
        sources: Sequence[Tensor] | None = None,
        source_masks: Masks | None = None,
        last: bool = False,
    ) -> list[Tensor]:
        """Encode a sequence with each encoder, attending to itself or to a source.

        Args:
            x: G sequences (B, T, D).
            masks: mask (B, T) of each sequence, or None if every frame is real.
            sources: G sequences (B, S, D).
            source_masks: mask (B, S) of each source.
            last: whether to return only the last real frame, which costs less; 0 for a sample without any.

        Returns:
            G sequences (B, T, D), or G vectors (B, D). Frames that are padding are undefined.
        """
        runs: dict[Any, list[int]] = {}
        for i, own in enumerate(x):
            other = own if sources is None else sources[i]
            lengths = own.shape[1], other.shape[1]
            # in an exported program for sequences of any length, lengths are symbols, which cannot be compared
            runs.setdefault(lengths if all(isinstance(n, int) for n in lengths) else i, []).append(i)
        out: dict[int, Tensor] = {}
        for run in runs.values():
            stacked = torch.stack([x[i] for i in run], dim=2)
            source: tuple[Tensor, Masks] | None = None
            if sources is not None and source_masks is not None:
                source = torch.stack([sources[i] for i in run], dim=2), tuple(source_masks[i] for i in run)
            found = self._encode(run, stacked, tuple(masks[i] for i in run), source, last)
            out |= dict(zip(run, found.unbind(-2), strict=True))
        return [out[i] for i in range(len(x))]

    def _encode(self, run: list[int], x: Tensor, masks: Masks, source: tuple[Tensor, Masks] | None, last: bool) -> Tensor:
        """Apply some of the encoders to x (B, T, G, D) and sources of equal lengths: (B, T, G, D), or (B, G, D) of the last frames."""
        w, width = self._weights(run), (self.width,)
        keys, key_masks = (x, masks) if source is None else source
        rates = tuple(self.attention_dropout[i] if self.training else 0.0 for i in run)
        visibility = Visibility(masks, key_masks, (x.shape[0], x.shape[1], keys.shape[1]), self.causal)
        visibility, frames, key_frames = arrangement(visibility, x.device)
        given = None if source is None else self._keys_and_values(w, keys, key_masks, key_frames)
        x = self._drop(frames.arranged(self._embed(x, masks)), self.rates.embedding)
        for i in range(self.layers):
            h = F.layer_norm(x, width)
            k, v = self._heads(grouped_linear(h, w.pair[i], w.pair_bias[i]), 2) if given is None else given[i]
            if last and i == self.layers - 1:
                x, h = frames.last(x, masks), frames.last(h, masks)
                visibility = visibility.of_last
            (q,) = self._heads(grouped_linear(h, w.query[i], w.query_bias[i]), 1)
            found = attend(q, k, v, visibility, rates).permute(1, 4, 0, 2, 3).flatten(3)
            found = grouped_linear(found, w.out_proj[i], w.out_proj_bias[i])
            x = x + self._drop(found if visibility.none is None else torch.where(visibility.none, 0, found), self.rates.residual)
            hidden = self._drop(grouped_linear(F.layer_norm(x, width), w.fc1[i], w.fc1_bias[i], relu=True), self.rates.relu)
            x = x + self._drop(grouped_linear(hidden, w.fc2[i], w.fc2_bias[i]), self.rates.residual)
        x = torch.addcmul(w.norm_bias, F.layer_norm(x, width), w.norm)
        if not last:
            return frames.restored(x)
        nothing, x = Visibility((), masks, visibility.shape, causal=False).none, x.flatten(0, 1)
        return x if nothing is None else torch.where(nothing.squeeze(1), 0, x)

    def _keys_and_values(self, w: _Weights, source: Tensor, masks: Masks, frames: Padded | Packed) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values of every layer at once: the source is the same for all, up to the scale and shift of their norms."""
        embedded = frames.arranged(self._embed(source, masks))
        found = []
        for i in range(2):  # each has its own dropout
            y = F.layer_norm(self._drop(embedded, self.rates.embedding), (self.width,))
            weight, bias = (torch.cat([p.chunk(2, dim=1)[i] for p in each], dim=1) for each in (w.pair, w.pair_bias))
            found.append(self._heads(grouped_linear(y, weight, bias), self.layers))
        return list(zip(*found, strict=True))

    def _heads(self, x: Tensor, parts: int) -> Tensor:
        """Reshape (B, T, G, parts * D) to (parts, G, B, heads, d, T)."""
        return x.reshape(*x.shape[:3], parts, self.heads, -1).permute(3, 2, 0, 4, 5, 1).contiguous()

    def _drop(self, x: Tensor, rate: float) -> Tensor:
        return dropout(x, rate, self.training)

    def _embed(self, x: Tensor, masks: Masks) -> Tensor:
        if all(mask is None for mask in masks):
            index = torch.arange(1, x.shape[1] + 1, device=x.device)[None, :, None]
        else:
            index = torch.stack([(real_index(m) + 1) * m for m in filled(masks, *x.shape[:2])], dim=2).clamp(min=0)
        if self.zero_is_padding:
            index = index * (x[..., 0] != 0)
        return torch.add(position_vectors(index, self.width).to(x.dtype), x, alpha=math.sqrt(self.width))

    def _weights(self, run: list[int]) -> _Weights:
        """Return the weights of some encoders by layer. Scales and shifts of norms are folded into the weights behind them."""
        p: dict[str, Tensor] = dict(self.named_parameters())
        if len(run) < len(self.names):
            index = torch.tensor(run, device=p["norm_weight"].device)
            p = {name: x.index_select(0 if name in ("norm_weight", "norm_bias") else 1, index) for name, x in p.items()}
        in_proj, in_bias = _behind_norm(p["in_proj_weight"], p["in_proj_bias"], p["norm_attention_weight"], p["norm_attention_bias"])
        fc1, fc1_bias = _behind_norm(p["fc1_weight"], p["fc1_bias"], p["norm_ffn_weight"], p["norm_ffn_bias"])
        parts = [self.width, 2 * self.width]
        (query, pair), (query_bias, pair_bias) = torch.split(in_proj, parts, dim=2), torch.split(in_bias, parts, dim=2)
        scale = (self.width // self.heads) ** -0.5 / LN2  # attention uses powers of two
        attention = (query * scale, query_bias * scale, pair, pair_bias, p["out_proj_weight"], p["out_proj_bias"])
        rest = (fc1, fc1_bias, p["fc2_weight"], p["fc2_bias"])
        return _Weights(*(x.unbind(0) for x in (*attention, *rest)), p["norm_weight"], p["norm_bias"])  # type: ignore[call-arg, arg-type]


class _Weights(NamedTuple):
    """Weights (G, out, in) and biases (G, out) by layer; ``pair`` holds keys and values. The last norm has (G, D)."""

    query: tuple[Tensor, ...]
    query_bias: tuple[Tensor, ...]
    pair: tuple[Tensor, ...]
    pair_bias: tuple[Tensor, ...]
    out_proj: tuple[Tensor, ...]
    out_proj_bias: tuple[Tensor, ...]
    fc1: tuple[Tensor, ...]
    fc1_bias: tuple[Tensor, ...]
    fc2: tuple[Tensor, ...]
    fc2_bias: tuple[Tensor, ...]
    norm: Tensor
    norm_bias: Tensor


def _behind_norm(weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight (..., O, I) and bias (..., O) of a linear layer with the scale and shift (..., I) of the preceding norm folded in."""
    return weight * scale.unsqueeze(-2), bias + (weight @ shift.unsqueeze(-1)).squeeze(-1)
