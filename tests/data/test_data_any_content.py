"""Whatever lies under a key: a corpus or a DataError that names the file, never another exception."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_files import make_content
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dhmd.data.sources.checked import SPLITS, Corpus, check_corpus
from dhmd.errors import DataError

DTYPES = st.one_of(hnp.floating_dtypes(endianness="?"), hnp.integer_dtypes(endianness="?"), hnp.complex_number_dtypes(),
                   hnp.boolean_dtypes(), hnp.unicode_string_dtypes(), hnp.byte_string_dtypes())  # fmt: skip
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8))
LIKE_TRAIN = hnp.arrays(DTYPES, st.sampled_from([(7,), (7, 1), (7, 6), (7, 6, 2), (7, 3, 6), (7, 6, 0), (0,)]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3))
VALUES = st.one_of(SCALARS, ARRAYS, LIKE_TRAIN, st.recursive(SCALARS, lambda s: st.lists(s, max_size=8) | st.dictionaries(st.text(), s)))
NAMES = st.sampled_from([*make_content()["train"], "audio_lengths", "vision_lengths", "text_lengths", "unknown"])


@given(st.sampled_from(SPLITS), NAMES, VALUES)
@settings(max_examples=400, deadline=None)
@pytest.mark.filterwarnings("error")
def test_any_value_under_any_key(split: str, key: str, value: Any) -> None:
    content = make_content()
    content[split][key] = value
    try:
        corpus = check_corpus(content, Path("some.pkl"))
    except DataError as error:
        message = str(error)
        assert message.startswith("some.pkl")  # both outcomes are looked at
        assert all(part in message for part in ("found:", "expected:", "what to do:"))
        assert len(message) < 1500
        return
    usable(corpus)


def usable(corpus: Corpus) -> None:
    for part in corpus.splits.values():
        n = len(part.ids)
        for modality, x in part.features.items():
            assert x.dtype == np.float32
            assert x.shape[0] == len(part.real[modality]) == n
        for labels in (part.regression, part.classification):
            assert labels is None or labels.shape == (n,)
        assert part.tokens is None or (part.tokens.shape[:2] == (n, 3) and part.tokens.min() >= 0)


@given(st.one_of(VALUES, st.dictionaries(st.sampled_from([*SPLITS, "synthetic"]), VALUES)))
@settings(max_examples=100, deadline=None)
def test_any_content_at_all(content: Any) -> None:
    with suppress(DataError):  # and no other error
        usable(check_corpus(content, Path("some.pkl")))
