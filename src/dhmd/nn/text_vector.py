"""One vector for a text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dhmd.nn.temporal import masked_mean

TextPool = Literal["cls", "mean"]


def text_vector(x: Tensor, mask: Tensor, pool: TextPool) -> Tensor:
    """Return vectors (B, d) of the token states x (B, T, d); 0 for a text without a token.

    Args:
        x: hidden states (B, T, d) of the tokens.
        mask: (B, T) True where there is a token.
        pool: ``cls`` for the state of the first token, which is [CLS] in BERT; ``mean`` for the mean over the tokens.
    """
    if pool == "mean":
        return masked_mean(x, mask)
    first = mask.int().argmax(dim=1).view(-1, 1, 1).expand(-1, 1, x.shape[-1])
    return torch.where(mask.any(dim=1, keepdim=True), x.gather(1, first).squeeze(1), 0)
