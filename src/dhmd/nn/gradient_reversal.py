"""Gradient reversal, for features that an adversary shall learn nothing from."""

from __future__ import annotations

from torch import Tensor


def reverse_gradient(x: Tensor, scale: float) -> Tensor:
    """Return x unchanged; its gradient is multiplied by ``-scale``.

    Source: Y. Ganin and V. Lempitsky: Unsupervised Domain Adaptation by Backpropagation. ICML 2015, equations 9 and 10.

    Args:
        x: of any shape.
        scale: what the reversed gradient is multiplied by.
    """
    return x + (1 + scale) * (x.detach() - x)  # adds exactly 0
