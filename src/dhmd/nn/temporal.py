"""Sequences with padding: the temporal projection, and layers from a sequence to one vector.

A mask of None stands for "every frame is real" throughout ``dhmd.nn``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEP = 8  # lengths of cut sequences are multiples of it, so that kernels made for a length are reused
NEAR = 1.25  # sequences are brought to one length if the longest has at most this many times the frames of the shortest


class TemporalProjection(nn.Module):
    """A convolution over time that brings a modality to the common width (DMD, CVPR 2023; authors' code).

    Args:
        in_dim: d_m, the width of the modality's features.
        width: d, the common width.
        kernel: frames in a window, k.
        full: whether to pad with k - 1 zero frames on both sides, so that the padding of a sample makes no difference.
    """

    def __init__(self, in_dim: int, width: int, kernel: int, full: bool) -> None:
        super().__init__()
        self.kernel, self.padding = kernel, kernel - 1 if full else 0
        self.conv = nn.Conv1d(in_dim, width, kernel, padding=self.padding, bias=False)

    def length(self, frames: int) -> int:
        """Return T', the number of output frames for ``frames`` input frames.

        Raises:
            ValueError: there are fewer frames than the window has.
        """
        out = frames + 2 * self.padding - self.kernel + 1
        if out < 1:
            raise ValueError(f"a convolution over {self.kernel} frames needs as many at least, found {frames}; use a smaller kernel")
        return out

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Project x (B, T, d_m) with mask (B, T) to (B, T', d) with mask (B, T').

        An output frame is real if any frame in its window is.
        """
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        if mask is None:
            return y, None
        seen = F.pad(mask.long(), (self.padding, self.padding)).cumsum(dim=1)  # number of real frames so far
        before = F.pad(seen, (self.kernel, 0))[:, : seen.shape[1]]
        return y, (seen - before)[:, self.kernel - 1 :] > 0


class Flatten(nn.Module):
    """Layer that concatenates the frames: (B, T', d) to (B, T' * d). Sequences must all have T' frames."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.out_dim = length * width

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Flatten x (B, T', d); padded frames are 0 already.

        Raises:
            ValueError: the number of frames is not the one that the layer was built for.
        """
        if x.shape[1] != self.length:
            raise ValueError(
                f"flattened heads were built for {self.length} frames after the projection, found {x.shape[1]}; "
                "set model.summary=pool for sequences of varying length"
            )
        return x.flatten(1)


class MaskedMean(nn.Module):
    """Mean of the real frames: (B, T', d) to (B, d); 0 for a sample without any."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_dim = width

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the mean of x (B, T', d) over the frames where mask (B, T') is True."""
        return masked_mean(x, mask)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over the real frames of x (B, T, d): (B, d); 0 for a sample without any."""
    if mask is None:
        return x.mean(dim=1)
    weight = mask.to(x.dtype).unsqueeze(-1)
    return (x * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def last_real(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the last real frame of each sample of x (B, T, d): (B, d); 0 for a sample without any."""
    if mask is None:
        return x[:, -1]
    steps = torch.arange(1, x.shape[1] + 1, device=x.device)
    last = (mask * steps).amax(dim=1)
    frame = x.gather(1, (last - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, x.shape[2])).squeeze(1)
    return torch.where(last.unsqueeze(1) > 0, frame, 0)


def first_frames(mask: Tensor, other: Tensor) -> Tensor:
    """Return a mask like ``mask`` (B, T), True for as many first frames as the sample has real ones in ``other`` (B, T')."""
    return torch.arange(mask.shape[1], device=mask.device) < other.sum(dim=1, keepdim=True)


def real_index(mask: Tensor) -> Tensor:
    """Return each frame's index counted from its sample's first real frame: (B, T) long, negative before it."""
    first = mask.int().argmax(dim=1, keepdim=True)
    return torch.arange(mask.shape[1], device=mask.device) - first


@dataclass(frozen=True)
class Cut:
    """Sequences without the frames that are padding in the whole batch.

    Attributes:
        sequences: by modality (B, T, d).
        masks: by modality (B, T), or None if every frame is real.
        windows: by modality, the numbers of frames cut before the first and after the last kept frame; negative if padding was added.
    """

    sequences: dict[str, Tensor]
    masks: dict[str, Tensor | None]
    windows: dict[str, tuple[int, int]]

    def restored(self, modality: str, x: Tensor) -> Tensor:
        """Return a modality's sequence (B, T, d) at its original length; 0 for frames that had been cut off."""
        before, behind = self.windows[modality]
        return F.pad(x, (0, 0, before, behind)) if before or behind else x


def cut(sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> Cut:
    """Cut sequences to the frames that are real in some sample, and bring them to one length if their lengths are similar.

    Attention then computes less, and encoders of sequences of one length run side by side.
    """
    windows = dict.fromkeys(sequences, (0, 0))
    if torch.compiler.is_compiling():  # a graph for any batch cannot depend on one
        return Cut(dict(sequences), dict(masks), windows)
    spans = {m: range(x.shape[1]) if masks[m] is None else _span(masks[m]) for m, x in sequences.items()}  # type: ignore[arg-type]
    lengths = {m: min(-(-max(len(s), 1) // STEP) * STEP, sequences[m].shape[1]) for m, s in spans.items()}
    longest = max(lengths.values())
    if longest <= NEAR * min(lengths.values()):
        lengths = dict.fromkeys(lengths, longest)
    out, seen = {}, {}
    for m, x in sequences.items():
        first = max(0, min(spans[m].start, x.shape[1] - lengths[m]))
        before, behind = windows[m] = first, x.shape[1] - lengths[m] - first
        mask = masks[m]
        if mask is None and behind < 0:
            mask = x.new_ones(x.shape[:2], dtype=torch.bool)
        out[m] = F.pad(x, (0, 0, -before, -behind)) if before or behind else x
        seen[m] = F.pad(mask, (-before, -behind)) if mask is not None and (before or behind) else mask
    return Cut(out, seen, windows)


def _span(mask: Tensor) -> range:
    """Return the range from the first to the last frame that is real in any sample."""
    found = mask.any(dim=0).nonzero()
    return range(int(found[0]), int(found[-1]) + 1) if len(found) else range(0)
