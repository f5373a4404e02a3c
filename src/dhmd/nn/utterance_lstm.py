"""One vector of a sequence by two stacked bidirectional LSTM layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dhmd.nn.recurrent import MaskedLSTM


class UtteranceLSTM(nn.Module):
    """The final states of two stacked bidirectional LSTM layers with a layer norm between them.

    Padding makes no difference. Source: the late-fusion LSTM of the CMU-MultimodalSDK tutorials, which MISA (ACM MM 2020) builds on.

    Args:
        in_dim: width of a frame.
        hidden: width of a direction's state, h.

    Attributes:
        out_dim: width of what comes out, 4 h.
    """

    def __init__(self, in_dim: int, hidden: int) -> None:
        super().__init__()
        self.first = MaskedLSTM(in_dim, hidden, bidirectional=True)
        self.norm = nn.LayerNorm(2 * hidden)
        self.second = MaskedLSTM(2 * hidden, hidden, bidirectional=True)
        self.out_dim = 4 * hidden

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the vector (B, 4 h) of x (B, T, in_dim): forward states of the first and second layer, then the backward ones.

        Args:
            x: sequences; the real frames of a sample are contiguous.
            mask: (B, T) True where a frame is real; None when all are.
        """
        states, first = self.first(x, mask)
        _, second = self.second(self.norm(states), mask)
        (ahead1, back1), (ahead2, back2) = first.chunk(2, dim=-1), second.chunk(2, dim=-1)
        return torch.cat([ahead1, ahead2, back1, back2], dim=-1)
