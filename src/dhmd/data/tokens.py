"""Token ids for text encoders: from the file, or from its texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.store import Store

Tokens = npt.NDArray[np.integer[Any]]
Tokenizer = Callable[[list[str]], Tokens]
"""Texts -> (N, 3, T) ids, mask, segments."""


def tokens_of_splits(store: Store, source: str, tokenizer: Tokenizer | None) -> dict[str, Tokens] | None:
    """Get the tokens of every split.

    Args:
        store: where text_bert and raw_text are, if there are any.
        source: ``text_bert``, ``raw_text``, or ``auto`` for the first of them that can be had.
        tokenizer: for raw_text.

    Returns:
        Per split (N, 3, T), with one T for all; None where they cannot be had.
    """
    stored: dict[str, Tokens] = {s: t for s in store.splits if (t := store.tokens(s)) is not None}
    if source != "raw_text" and len(stored) == len(store.splits):
        return stored
    texts = {s: store.raw_text(s) or [] for s in store.splits}
    if source == "text_bert" or tokenizer is None or not all(texts.values()):
        return None
    tokens = np.asarray(tokenizer([t for split in texts.values() for t in split]))  # in one go, for one T
    ends = np.cumsum([len(t) for t in texts.values()])
    return dict(zip(texts, np.split(tokens, ends[:-1]), strict=True))
