"""Attention with many narrow heads, in memory linear in the number of frames."""

from __future__ import annotations

from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from dhmd.nn.cpu.attention import LN2, TiledAttention
from dhmd.nn.cpu.attention_mask import Visibility
from dhmd.nn.cpu.dropout_tables import fresh_seed


def attend(q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, rates: tuple[float, ...]) -> Tensor:
    """Return attention with weights 2^(q k), normalised and dropped at each group's rate, times v; 0 for a query that sees no key.

    Args:
        q: (G, B, heads, d, T_q) queries, scaled for powers of two instead of e.
        k: (G, B, heads, d, T_k) keys.
        v: (G, B, heads, d, T_k) values.
        visibility: keys that each query sees.
        rates: dropout rates, by group.

    Returns:
        (G, B, heads, d, T_q). The result of queries that are padding is undefined.
    """
    if q.device.type == "cpu" and not torch.compiler.is_compiling():
        q, k, v = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k, v))  # as sums of powers need
        with torch.autocast("cpu", enabled=False):
            out: Tensor = TiledAttention.apply(q, k, v, visibility, rates, fresh_seed() if any(rates) else 0)[0]  # type: ignore[no-untyped-call]
        return out
    visible = None if visibility.visible is None else visibility.visible.to(q.device).expand(*q.shape[:2], -1, -1)
    none = None if visible is None else ~visible.any(dim=-1, keepdim=True)
    seen = None if visible is None or none is None else visible | none  # a row of -inf would give NaN
    parts, begin = [], 0
    for rate, run in groupby(rates):
        groups = slice(begin, begin := begin + len(list(run)))
        mask = None if seen is None else seen[groups].flatten(0, 1).unsqueeze(1)
        q_, k_, v_ = (x[groups].flatten(0, 1).mT for x in (q, k, v))
        parts.append(F.scaled_dot_product_attention(q_, k_, v_, attn_mask=mask, dropout_p=rate, scale=LN2).mT)
    joined = torch.cat(parts).view(q.shape)
    return joined if none is None else torch.where(none[:, :, None].mT, 0, joined)
