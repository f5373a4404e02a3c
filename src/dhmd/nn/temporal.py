"""Sequences with padding: the temporal projection, and ways to make one vector of a sequence.

A mask of None stands for "every frame is real" throughout ``dhmd.nn``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TemporalProjection(nn.Module):
    """A convolution over time that brings a modality to the common width (DMD, CVPR 2023; authors' code).

    Args:
        in_dim: d_m, the width of the modality's features.
        width: d, the common width.
        kernel: frames in a window, k.
        full: pad with k - 1 zero frames on both sides, so that how much padding a sample already has makes no difference.
    """

    def __init__(self, in_dim: int, width: int, kernel: int, full: bool) -> None:
        super().__init__()
        self.kernel, self.padding = kernel, kernel - 1 if full else 0
        self.conv = nn.Conv1d(in_dim, width, kernel, padding=self.padding, bias=False)

    def length(self, frames: int) -> int:
        """T', the number of frames that come out when ``frames`` go in.

        Raises:
            ValueError: fewer frames than the window.
        """
        out = frames + 2 * self.padding - self.kernel + 1
        if out < 1:
            raise ValueError(f"a convolution over {self.kernel} frames needs as many at least, found {frames}; use a smaller kernel")
        return out

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Project (B, T, d_m) with mask (B, T) to (B, T', d) with mask (B, T').

        A frame that comes out is real when any frame in its window is.
        """
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        if mask is None:
            return y, None
        seen = F.pad(mask.long(), (self.padding, self.padding)).cumsum(dim=1)  # real frames so far
        before = F.pad(seen, (self.kernel, 0))[:, : seen.shape[1]]
        return y, (seen - before)[:, self.kernel - 1 :] > 0


class Flatten(nn.Module):
    """Frames side by side: (B, T', d) to (B, T' * d). Sequences must all have T' frames."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.out_dim = length * width

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Flatten x (B, T', d); padded frames are 0 already.

        Raises:
            ValueError: another number of frames than the layer was built for.
        """
        if x.shape[1] != self.length:
            raise ValueError(
                f"flattened heads were built for {self.length} frames after the projection, found {x.shape[1]}; "
                "set model.summary=pool for sequences of varying length"
            )
        return x.flatten(1)


class MaskedMean(nn.Module):
    """The mean of the real frames: (B, T', d) to (B, d); 0 for a sample without any."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_dim = width

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Average x (B, T', d) over the frames where mask (B, T') is True."""
        return masked_mean(x, mask)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the real frames of x (B, T, d): (B, d); 0 where there is none."""
    if mask is None:
        return x.mean(dim=1)
    weight = mask.to(x.dtype).unsqueeze(-1)
    return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def last_real(x: Tensor, mask: Tensor | None) -> Tensor:
    """The last real frame of each sample of x (B, T, d): (B, d); 0 where there is none."""
    if mask is None:
        return x[:, -1]
    steps = torch.arange(1, x.shape[1] + 1, device=x.device)
    last = (mask * steps).amax(dim=1)
    frame = x.gather(1, (last - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, x.shape[2])).squeeze(1)
    return torch.where(last.unsqueeze(1) > 0, frame, 0)


def real_index(mask: Tensor) -> Tensor:
    """Each frame's index counted from its sample's first real frame: (B, T) long, negative before it."""
    first = mask.int().argmax(dim=1, keepdim=True)
    return torch.arange(mask.shape[1], device=mask.device) - first
