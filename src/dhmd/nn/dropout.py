"""Dropout whose masks are cheap on a CPU, and can be drawn a second time instead of being kept.

Torch draws with one serial generator there, at about the price of five products of matrices as narrow as attention's. Here a table of
random words, made once, is keyed anew for every mask by multiply-add hashing: word i becomes a * word_i + b modulo 2^32, and whether it is
below a threshold decides. The keys a (odd) and b come from torch's generator, so that a seed fixes them.

Source of the hashing: Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer arithmetic without
primes", STACS 1996.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from dhmd.nn.replicas import fresh_seeds, jointly, mapped

BLOCK = 2**18  # words in the table: they stay in a core's cache


def kept(shape: torch.Size | tuple[int, ...], rate: float, seed: int, out: Tensor | None = None) -> Tensor:
    """What to multiply with: 0 with probability ``rate``, else 1 / (1 - rate); float32 of this shape, the same for the same seed.

    Args:
        shape: of the mask.
        rate: of what is dropped.
        seed: of the mask.
        out: int32 memory for at least so many words, which the mask then is a view of.
    """
    count = prod(shape)
    words = torch.empty(count, dtype=torch.int32) if out is None else out[:count]
    threshold, scale = min(round((1 - rate) * 2**32) - 2**31, 2**31 - 1), _bits(1 / (1 - rate))
    for i, block in enumerate(torch.split(words, BLOCK)):
        a, b = _keys(seed + i)
        torch.mul(_words()[: len(block)], a, out=block)
        # below the threshold -1, all of whose bits are ones, else 0
        block.add_(b).clamp_(threshold - 1, threshold).sub_(threshold).bitwise_and_(scale)
    return words.view(torch.float32).view(shape)


def dropout(x: Tensor, rate: float, training: bool, axis: int = 0) -> Tensor:
    """Zero each element of x with probability ``rate`` and scale the others by 1 / (1 - rate); x itself when not training.

    Among replicas whose x lie side by side along ``axis``, each gets the mask that it would get alone (on a CPU).
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    if mapped():
        return jointly(lambda every: [dropout(every, rate, training)], x)[0]
    seeds, shape = fresh_seeds(), list(x.shape)
    shape[axis] //= len(seeds)
    masks = [kept(tuple(shape), rate, seed) for seed in seeds]
    return x * (masks[0] if len(masks) == 1 else torch.cat(masks, dim=axis)).to(x.dtype)


@lru_cache(maxsize=1)
def _words() -> Tensor:
    generator = torch.Generator().manual_seed(20_231_117)
    return torch.randint(-(2**31), 2**31, (BLOCK,), dtype=torch.int32, generator=generator)


def _keys(seed: int) -> tuple[int, int]:
    """A factor and an addend from a seed, of which neighbouring ones give unlike keys (the finaliser of splitmix64)."""
    z = (seed + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    return _signed(z & 0xFFFFFFFF | 1), _signed(z >> 32)


def _signed(word: int) -> int:
    """The same 32 bits as a signed number."""
    return (word + 2**31) % 2**32 - 2**31


def _bits(value: float) -> int:
    """The bits of a float32, as a signed number."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])
