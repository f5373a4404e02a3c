import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dhmd.nn.temporal import Flatten, MaskedMean, TemporalProjection, cut, last_real, masked_mean, real_index

MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()


def test_a_frame_is_real_when_any_frame_of_its_window_is():
    projection = TemporalProjection(2, 3, kernel=3, full=False)
    out, mask = projection(torch.randn(3, 5, 2), MASK)
    assert out.shape == (3, 3, 3)
    assert mask.tolist() == [[True, True, True], [True, True, False], [False, False, False]]
    assert out[1, 2].eq(0).all(), "padding is zeroed before the projection, which has no bias"
    assert out[2].eq(0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 4), st.integers(0, 4))
def test_full_projection_gives_the_same_real_frames_whatever_the_padding(kernel, frames, left, right):
    projection = TemporalProjection(2, 3, kernel, full=True)
    x = torch.randn(1, frames, 2)
    bare, bare_mask = projection(x, torch.ones(1, frames, dtype=torch.bool))
    padded = torch.nn.functional.pad(x, (0, 0, left, right))
    out, mask = projection(padded, torch.nn.functional.pad(torch.ones(1, frames, dtype=torch.bool), (left, right)))
    assert out.shape[1] == projection.length(frames + left + right)
    torch.testing.assert_close(out[mask], bare[bare_mask], rtol=1e-5, atol=1e-6)


def test_length_refuses_fewer_frames_than_the_window():
    with pytest.raises(ValueError, match="over 5 frames needs as many at least, found 4"):
        TemporalProjection(2, 3, kernel=5, full=False).length(4)


def test_last_real_and_masked_mean():
    x = torch.arange(15.0).view(3, 5, 1)
    assert last_real(x, MASK).flatten().tolist() == [4, 6, 0]
    assert last_real(x, None).flatten().tolist() == [4, 9, 14]
    assert masked_mean(x, MASK).flatten().tolist() == [3, 5.5, 0]
    assert masked_mean(x, None).flatten().tolist() == [2, 7, 12]


def test_real_index_counts_from_the_first_real_frame():
    assert real_index(MASK)[:2].tolist() == [[-2, -1, 0, 1, 2], [0, 1, 2, 3, 4]]


def test_flatten_is_time_first_and_keeps_its_length():
    x = torch.arange(6.0).view(1, 3, 2)
    assert Flatten(3, 2)(x, None).tolist() == [[0, 1, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match=r"built for 4 frames after the projection, found 3; set model.summary=pool"):
        Flatten(4, 2)(x, None)
    assert MaskedMean(2).out_dim == 2
    assert Flatten(4, 2).out_dim == 8


def test_sequences_are_cut_to_what_is_real_in_the_batch_and_brought_to_one_length():
    masks = {"a": torch.zeros(2, 40, dtype=torch.bool), "b": None}
    masks["a"][0, 11:20], masks["a"][1, 14:18] = True, True
    x = {"a": torch.randn(2, 40, 3) * masks["a"].unsqueeze(-1), "b": torch.randn(2, 14, 3)}
    short = cut(x, masks)
    assert {m: t.shape[1] for m, t in short.sequences.items()} == {"a": 16, "b": 16}
    assert short.masks["b"].sum(1).tolist() == [14, 14], "the frames that were added are none"
    for m, t in x.items():
        assert torch.equal(short.restored(m, short.sequences[m]), t)
        assert short.sequences[m][short.masks[m]].shape == (t if masks[m] is None else t[masks[m]]).reshape(-1, 3).shape


def test_sequences_of_unlike_lengths_keep_theirs_and_empty_ones_stay():
    x = {"a": torch.randn(2, 40, 3), "b": torch.zeros(2, 9, 3)}
    short = cut(x, {"a": None, "b": torch.zeros(2, 9, dtype=torch.bool)})
    assert {m: t.shape[1] for m, t in short.sequences.items()} == {"a": 40, "b": 8}
    assert short.masks["a"] is None
    assert torch.equal(short.restored("b", short.sequences["b"]), x["b"])
