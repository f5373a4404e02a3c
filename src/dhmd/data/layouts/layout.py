"""The interface of a layout: it recognises a content and puts the content's values under the names that the checks know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dhmd.errors import data_error

SPLITS = ("train", "valid", "test")
KEYS: Mapping[str, str] = {"language": "text", "vision": "vision", "acoustic": "audio"}
"""Key of a split that holds each modality, in the order of the papers' losses."""


@dataclass
class Canonical:
    """A content under the names of the published pickles; its values are checked later.

    Attributes:
        splits: train, valid and test; each with id, one key a modality, optionally ``<key>_lengths``, raw_text, text_bert, and
            regression_labels or classification_labels.
        keys: the key that holds each modality, in modality order.
        synthetic: whether the content was generated.
        notes: remarks for the user, in sentences.
        groups: per split further columns, a string a sample, by which samples can be kept together; None in a layout without.
        text_only: whether the language has texts or tokens but no features; the array under its key is then a placeholder of zeros.
    """

    splits: dict[str, dict[Any, Any]]
    keys: Mapping[str, str]
    synthetic: bool = False
    notes: list[str] = field(default_factory=list)
    groups: dict[str, dict[str, list[str]]] | None = None
    text_only: bool = False


class Layout(Protocol):
    """One layout of feature files."""

    @property
    def name(self) -> str:
        """Name in ``data.layout``."""

    @property
    def describes(self) -> str:
        """Description of the layout in a few words, for messages."""

    def fits(self, content: Any) -> bool:
        """Return whether a content is of this layout."""

    def canonical(self, content: Any, path: Path, keys: Mapping[str, str] | None) -> Canonical:
        """Return the values of a content under the canonical names.

        Args:
            content: content of this layout.
            path: path of the file, for messages.
            keys: the key that holds each modality; None for the layout's own keys.

        Raises:
            DataError: the content does not follow the layout.
        """


def split_dicts(content: Any) -> dict[str, dict[Any, Any]]:
    """Return the splits of a pickle's content; none if it is no dict of dicts."""
    if not isinstance(content, dict):
        return {}
    return {s: content[s] for s in SPLITS if isinstance(content.get(s), dict)}


def required(split: dict[Any, Any], key: str, name: str, path: Path) -> Any:
    """Return the value of a key of a split.

    Raises:
        DataError: the key is absent.
    """
    if key not in split:
        raise data_error(
            path, f"{name}/{key}", found="no such key", expected=f"the key {key}, as in the other splits", do="add it to this split"
        )
    return split[key]


def flat_labels(value: Any, path: Path, key: str) -> npt.NDArray[Any]:
    """Return labels of shape (N,), (N, 1) or (N, 1, 1) as (N,).

    Raises:
        DataError: the labels have another shape.
    """
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists and the like
        array = np.empty(())
    if array.ndim < 1 or any(n != 1 for n in array.shape[1:]):
        raise data_error(
            path,
            key,
            found=f"labels of shape {array.shape}" if array.ndim else f"a {type(value).__name__} that makes no array of labels",
            expected="one label a sample: (N,), (N, 1) or (N, 1, 1)",
            do="choose one label a sample and store the file again (in MulT's IEMOCAP, one of the four emotions)",
        )
    return array.reshape(len(array))
