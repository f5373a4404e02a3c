"""Token ids for text encoders, from the file or from its texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.store.reader import Store
from dhmd.errors import data_error

Tokens = npt.NDArray[np.integer[Any]]
Tokenizer = Callable[[list[str]], Tokens]
"""Function from texts to (N, 3, T) ids, mask, segments."""


def tokens_of_splits(store: Store, source: str, tokenizer: Tokenizer | None) -> dict[str, Tokens] | None:
    """Return the tokens of every split.

    Args:
        store: the store that may hold text_bert and raw_text.
        source: ``text_bert``, ``raw_text``, or ``auto`` for the first of them that is available.
        tokenizer: tokenizer for raw_text.

    Returns:
        Tokens (N, 3, T) by split, with one T for all; None if they are unavailable.
    """
    stored: dict[str, Tokens] = {s: t for s in store.splits if (t := store.tokens(s)) is not None}
    if source != "raw_text" and len(stored) == len(store.splits):
        return stored
    texts = {s: store.raw_text(s) or [] for s in store.splits}
    if source == "text_bert" or tokenizer is None or not all(texts.values()):
        return None
    tokens = np.asarray(tokenizer([t for split in texts.values() for t in split]))  # all at once, to get one T
    ends = np.cumsum([len(t) for t in texts.values()])
    return dict(zip(texts, np.split(tokens, ends[:-1]), strict=True))


def check_tokens(store: Store, tokens: Mapping[str, Tokens] | None, required: bool, file: Path | str) -> None:
    """Check that the language can be read: from tokens if they are required, else from features.

    Args:
        store: store of the features.
        tokens: tokens of its splits; None if they are unavailable.
        required: whether every batch must have tokens.
        file: to name in messages.

    Raises:
        DataError: the language cannot be read.
    """
    if store.text_only and not required:
        raise data_error(
            file,
            "train/text",
            found="texts without language features",
            expected="language features, or a text encoder that makes some from the texts",
            do="add language.npy, or choose text_encoder=minilm or text_encoder=bert",
        )
    if required and tokens is None:
        has_text = store.raw_text("train") is not None
        raise data_error(
            file,
            "train/text_bert",
            found="no token ids" + (" (there is raw_text, but no tokenizer)" if has_text else ", and no raw_text either"),
            expected="text_bert (N, 3, T), or raw_text and a text encoder with a tokenizer",
            do="add text_bert or raw_text to the file, or use the given language features with text_encoder=features",
        )
