"""The vector of two stacked bidirectional LSTM layers is that of packed sequences, wherever the padding lies."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dhmd.nn.utterance_lstm import UtteranceLSTM

LENGTHS = [5, 1, 7, 3]


def layer_and_batch():
    torch.manual_seed(0)
    mask = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    return UtteranceLSTM(3, 4).double(), torch.randn(4, 7, 3, dtype=torch.double), mask


def packed(layer, x):
    lstm = nn.LSTM(layer.ahead.input_size, layer.ahead.hidden_size, batch_first=True, bidirectional=True).double()
    lstm.load_state_dict(layer.ahead.state_dict() | {f"{name}_reverse": w for name, w in layer.back.state_dict().items()})
    states, (final, _) = lstm(pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False))
    return pad_packed_sequence(states, batch_first=True)[0], final


def test_the_vector_is_that_of_packed_sequences():
    layer, x, mask = layer_and_batch()
    states, first = packed(layer.first, x)
    _, second = packed(layer.second, layer.norm(states))
    found = layer(x, mask)
    assert found.shape == (4, layer.out_dim) == (4, 16)
    expected = torch.cat([first[0], second[0], first[1], second[1]], dim=1)  # by direction, then by layer
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_padding_on_either_side_makes_no_difference():
    layer, x, mask = layer_and_batch()
    wider, seen = nn.functional.pad(x, (0, 0, 4, 9), value=7.0), nn.functional.pad(mask, (4, 9))
    torch.testing.assert_close(layer(wider, seen), layer(x, mask), rtol=0, atol=1e-12)


def test_without_a_mask_every_frame_is_real():
    layer, x, mask = layer_and_batch()
    torch.testing.assert_close(layer(x, None), layer(x, torch.ones_like(mask)), rtol=0, atol=0)
