"""The losses of self-regression: reconstruction, cycle, orthogonality. Padded frames do not count where masks are given.

Source: DMD, CVPR 2023; sums and means from the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from dhmd.batch import FeatureBatch
from dhmd.losses.stages import decoupled_of
from dhmd.outputs import Outputs

Masks = Mapping[str, Tensor] | None


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of values (B, T) over the real frames."""
    if mask is None:
        return values.mean()
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _squared_error(a: Mapping[str, Tensor], b: Mapping[str, Tensor], masks: Masks) -> Tensor:
    each = [_mean((x - b[m]).square().mean(dim=-1), None if masks is None else masks[m]) for m, x in a.items()]
    return torch.stack(each).sum()


def reconstruction_loss(projected: Mapping[str, Tensor], reconstruction: Mapping[str, Tensor], masks: Masks = None) -> Tensor:
    """Return the sum over modalities of the mean squared error between X~_m and D_m([s_m ; c_m]), each (B, T, d)."""
    return _squared_error(projected, reconstruction, masks)


def cycle_loss(private: Mapping[str, Tensor], cycle: Mapping[str, Tensor], masks: Masks = None) -> Tensor:
    """Return the sum over modalities of the mean squared error between s_m and the private encoding of the reconstruction, (B, T, d)."""
    return _squared_error(private, cycle, masks)


def cosine(a: Tensor, b: Tensor, dim: int = -1) -> Tensor:
    """Return the cosine of the angle between a and b; 0, with a finite gradient, if one of them is 0."""
    product = (a * b).sum(dim)
    return product / ((a.square().sum(dim) + 1e-12) * (b.square().sum(dim) + 1e-12)).sqrt()


def orthogonality_loss(
    private: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    masks: Masks = None,
    axis: Literal["features", "batch"] = "features",
) -> Tensor:
    """Return the sum over modalities of mean max(0, cos(s_m, c_m)), each (B, T, d).

    Args:
        private: s_m.
        shared: c_m.
        masks: (B, T) real frames; None when all are.
        axis: axis of the cosine: the features of each real frame, or the batch for each frame and channel, as computed by the authors'
            call to CosineEmbeddingLoss on (T, B, d) tensors under torch 1.9.
    """
    total = []
    for m, s in private.items():
        mask = None if masks is None else masks[m]
        if axis == "features":
            total.append(_mean(cosine(s, shared[m]).clamp(min=0), mask))
        else:
            keep = 1 if mask is None else mask.unsqueeze(-1)
            total.append(cosine(s * keep, shared[m] * keep, dim=0).clamp(min=0).mean())
    return torch.stack(total).sum()


class Reconstruction:
    """The term of `reconstruction_loss`."""

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without decoupling."""
        found = decoupled_of(outputs)
        return None if found is None else reconstruction_loss(found.projected, found.reconstruction, getattr(outputs, "masks", None))


class Cycle:
    """The term of `cycle_loss`."""

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without decoupling."""
        found = decoupled_of(outputs)
        return None if found is None else cycle_loss(found.private, found.cycle, getattr(outputs, "masks", None))


class Orthogonality:
    """The term of `orthogonality_loss`.

    Args:
        axis: axis of the cosine, ``features`` or ``batch``.
    """

    def __init__(self, axis: Literal["features", "batch"] = "features") -> None:
        self.axis = axis

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without decoupling."""
        found = decoupled_of(outputs)
        return None if found is None else orthogonality_loss(found.private, found.shared, getattr(outputs, "masks", None), self.axis)
