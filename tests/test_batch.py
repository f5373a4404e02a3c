import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import dhmd
from dhmd.batch import edge_pairs, real_frames


def test_masks_come_from_zero_frames_at_both_ends():
    x = torch.zeros(3, 6, 2)
    x[0, 1:5] = 1
    x[0, 3] = 0  # a zero frame between real ones is real
    x[1] = 1
    assert real_frames(x).int().tolist() == [[0, 1, 1, 1, 1, 0], [1] * 6, [0] * 6]


@given(st.integers(0, 5), st.integers(1, 5), st.integers(0, 5))
def test_real_frames_are_the_inserted_ones(left, frames, right):
    x = torch.nn.functional.pad(torch.ones(1, frames, 3), (0, 0, left, right))
    assert real_frames(x)[0].tolist() == [False] * left + [True] * frames + [False] * right


def test_from_arrays():
    batch = dhmd.FeatureBatch.from_arrays(
        language=np.ones((2, 4, 3)), vision=torch.ones(2, 5, 2), acoustic=np.ones((2, 6, 1), np.float16), label=np.array([[0.5], [-1.0]])
    )
    assert batch.modalities == ("language", "vision", "acoustic")
    assert len(batch) == 2
    assert all(x.dtype == torch.float32 for x in batch.features.values())
    assert batch.label.tolist() == [0.5, -1.0]
    assert dhmd.FeatureBatch.from_arrays(language=np.ones((2, 4, 3)), label=[0, 2]).label.dtype == torch.long
    assert batch.to("cpu").label is not None
    assert batch.double().features["acoustic"].dtype == torch.float64


def test_arrays_of_any_byte_order_are_copied():
    x = np.ones((2, 3, 1), ">f8")[::-1]
    mine = np.ones((2, 3, 1), np.float32)
    batch = dhmd.FeatureBatch.from_arrays(language=x, vision=mine)
    mine[:] = 7
    assert batch.features["vision"].eq(1).all()
    assert batch.features["language"].eq(1).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no modality given"),
        ({"language": np.ones((2, 3))}, r"language: features must be \(B, T, d\), found shape \(2, 3\)"),
        ({"language": np.ones((2, 3, 1)), "vision": np.ones((3, 3, 1))}, "batch sizes differ"),
        ({"language": np.ones((2, 3, 1)), "label": [1.0]}, "batch sizes differ"),
        ({"language": np.ones((2, 3, 1)), "label": [1.0, np.nan]}, "label: a value is NaN or infinite"),
        ({"language": np.full((2, 3, 1), -np.inf)}, "language: 6 values are NaN or infinite"),
        ({"language": np.ones((2, 3, 1)), "tokens": np.ones((2, 2, 4), int)}, r"tokens must be \(B, 3, T\)"),
        ({"language": np.ones((2, 3, 1)), "tokens": np.ones((1, 3, 4), int)}, "batch sizes differ"),
        ({"language": np.array([[["a"]]])}, "language: expected an array of numbers; found values of type <U1"),
        ({"language": None}, "language: expected an array of numbers; found values of type object"),
        ({"language": [[1, 2], [3]]}, "language: expected an array of numbers"),
    ],
)
def test_arrays_that_do_not_fit(arrays, message):
    with pytest.raises(ValueError, match=message):
        dhmd.FeatureBatch.from_arrays(**arrays)


def test_a_mask_of_another_shape_is_refused():
    x = torch.ones(2, 3, 1)
    with pytest.raises(ValueError, match=r"language: mask must be \(2, 3\), found none"):
        dhmd.FeatureBatch({"language": x}, {})


def test_edges_of_two_modalities():
    assert edge_pairs(("a", "b")) == (("b", "a"), ("a", "b"))
