"""A masked LSTM is PyTorch's packed one, wherever the padding lies."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dhmd.nn.recurrent import MaskedLSTM

LENGTHS = [5, 1, 7, 3]


def packed(layer: MaskedLSTM, x, lengths):
    lstm = nn.LSTM(x.shape[-1], layer.ahead.hidden_size, batch_first=True, bidirectional=layer.back is not None).double()
    weights = dict(layer.ahead.state_dict())
    if layer.back is not None:
        weights |= {f"{name}_reverse": w for name, w in layer.back.state_dict().items()}
    lstm.load_state_dict(weights)
    states, (final, _) = lstm(pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False))
    return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0], torch.cat(list(final), dim=-1)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_a_packed_sequence(bidirectional):
    torch.manual_seed(0)
    layer = MaskedLSTM(3, 4, bidirectional).double()
    x = torch.randn(4, 7, 3, dtype=torch.double)
    mask = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    states, final = layer(x, mask)
    expected, last = packed(layer, x, LENGTHS)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(final, last, rtol=0, atol=1e-12)
    assert final.shape == (4, layer.out_dim)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_on_either_side_makes_no_difference(bidirectional):
    torch.manual_seed(0)
    layer = MaskedLSTM(3, 4, bidirectional).double()
    x = torch.randn(4, 7, 3, dtype=torch.double)
    mask = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    states, final = layer(x, mask)
    wider = torch.cat([torch.randn(4, 2, 3).double(), x, torch.randn(4, 3, 3).double()], dim=1)
    seen = nn.functional.pad(mask, (2, 3))
    more, same = layer(wider, seen)
    torch.testing.assert_close(same, final, rtol=0, atol=1e-12)
    torch.testing.assert_close(more[:, 2:9], states, rtol=0, atol=1e-12)
    assert not more[:, :2].any()


def test_a_sample_without_a_real_frame_has_zero_states():
    layer = MaskedLSTM(3, 4, bidirectional=True)
    states, final = layer(torch.randn(2, 5, 3), torch.tensor([[True] * 5, [False] * 5]))
    assert not states[1].any()
    assert not final[1].any()
    assert final[0].any()


def test_without_a_mask_every_frame_is_real():
    layer = MaskedLSTM(3, 4)
    x = torch.randn(2, 5, 3)
    assert torch.equal(layer(x, None)[1], layer(x, torch.ones(2, 5, dtype=torch.bool))[1])
    assert torch.equal(layer(x, None)[1], layer.ahead(x)[0][:, -1])
