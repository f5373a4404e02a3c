"""Recurrent layers over the real frames of padded sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedLSTM(nn.Module):
    """An LSTM layer that reads each sample's real frames only, so that padding makes no difference.

    The two directions are two `torch.nn.LSTM`: the second reads each sample's real frames from its last to its first. Unlike with packed
    sequences, nothing depends on the lengths in a batch, as `torch.export` requires; torch 2.13 exports an LSTM for one padded length.

    Args:
        in_dim: width of a frame.
        hidden: width of a direction's state, h.
        bidirectional: whether there is a second direction.

    Attributes:
        out_dim: width of the output, h or 2 h.
    """

    def __init__(self, in_dim: int, hidden: int, bidirectional: bool = False) -> None:
        super().__init__()
        self.ahead = nn.LSTM(in_dim, hidden, batch_first=True)
        self.back = nn.LSTM(in_dim, hidden, batch_first=True) if bidirectional else None
        self.out_dim = hidden * (2 if bidirectional else 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the states of x (B, T, in_dim) at every frame and after the last one.

        Args:
            x: sequences; the real frames of a sample are contiguous.
            mask: (B, T) True where a frame is real; None if all are.

        Returns:
            The states (B, T, out_dim) in the order of the frames, 0 for frames that are not real; and the final states (B, out_dim),
            forward then backward, 0 for a sample without a real frame.
        """
        if mask is None:
            mask = x.new_ones(x.shape[:2], dtype=torch.bool)
        frame = torch.arange(x.shape[1], device=x.device)
        length, first = mask.sum(dim=1, keepdim=True), mask.int().argmax(dim=1, keepdim=True)
        orders = [(first + frame).remainder(x.shape[1])]
        places = [(frame - first).remainder(x.shape[1])]  # the inverse of the order
        if self.back is not None:
            orders.append((first + length - 1 - frame).remainder(x.shape[1]))
            places.append(orders[1])  # a reversal is its own inverse
        states, finals = [], []
        for lstm, order, place in zip((self.ahead, self.back), orders, places, strict=False):
            found = lstm(_frames(x, order))[0]  # type: ignore[misc]  # the second is there where there is a second order
            finals.append(_frames(found, (length - 1).clamp(min=0)).squeeze(1))
            states.append(_frames(found, place))
        real = mask.unsqueeze(-1)
        return torch.where(real, torch.cat(states, dim=-1), 0), torch.where(length > 0, torch.cat(finals, dim=-1), 0)


class RecurrentEncoder(nn.Module):
    """Encoder of a sequence to one vector: Linear(dropout(h)), h the final states of an LSTM over the real frames.

    Args:
        in_dim: width of a frame.
        hidden: width of a state in one direction.
        out_dim: width of the vector.
        bidirectional: whether the LSTM reads in both directions.
        dropout: rate on h.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int, bidirectional: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = MaskedLSTM(in_dim, hidden, bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.lstm.out_dim, out_dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the vectors (B, out_dim) of x (B, T, in_dim), real where mask (B, T) is True; h is 0 where no frame is."""
        vector: Tensor = self.linear(self.dropout(self.lstm(x, mask)[1]))
        return vector


def _frames(x: Tensor, index: Tensor) -> Tensor:
    """Return the frames (B, K, d) of x (B, T, d) at ``index`` (B, K)."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
