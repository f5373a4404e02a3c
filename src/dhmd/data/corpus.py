"""A data set in memory, and the check that a pickle's content is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.fields import features_of, labels_of, lengths_of, strings_of, tokens_of
from dhmd.data.pickles import LAYOUT
from dhmd.data.problem import problem
from dhmd.data.ranges import real_ranges

SPLITS = ("train", "valid", "test")
KEYS: Mapping[str, str] = {"language": "text", "vision": "vision", "acoustic": "audio"}
"""Which key of a split holds which modality, in the order of the papers' losses."""


@dataclass
class Split:
    """One split of N samples.

    Attributes:
        ids: N distinct names, for example ``video$_$clip``.
        features: per modality (N, T_m, d_m) float32; zero outside the real frames.
        real: per modality (N, 2) int32, the first real frame and the one after the last.
        regression: (N,) float32 or None.
        classification: (N,) int64 or None.
        tokens: (N, 3, T) int32 ids, mask, segments, or None.
        raw_text: N strings, or None where there is no text.
    """

    ids: list[str]
    features: dict[str, npt.NDArray[np.float32]]
    real: dict[str, npt.NDArray[np.int32]]
    regression: npt.NDArray[np.float32] | None
    classification: npt.NDArray[np.int64] | None
    tokens: npt.NDArray[np.int32] | None
    raw_text: list[str] | None


@dataclass
class Corpus:
    """A checked data set.

    Attributes:
        splits: train, valid and test.
        synthetic: whether it was generated.
        notes: what a user should know of it, in sentences.
    """

    splits: dict[str, Split]
    synthetic: bool = False
    notes: list[str] = field(default_factory=list)


def check_corpus(content: Any, path: Path, keys: Mapping[str, str] = KEYS) -> Corpus:
    """Check the content of a pickle and bring it to one form.

    Args:
        content: what was unpickled; arrays are taken over, not copied, where their type fits.
        path: its file, for messages.
        keys: which key holds which modality, in modality order.

    Returns:
        The corpus; its labels' range is not checked here.

    Raises:
        DataError: the content is not of the layout; the message names file, key, what was found and expected, and what to do.
    """
    if not isinstance(content, dict) or not all(isinstance(content.get(s, {}), dict) for s in SPLITS):
        found = _type_of(content) if not isinstance(content, dict) else "a dict whose splits are not dicts"
        raise problem(path, "", found=found, expected=LAYOUT, do="pickle {'train': {...}, 'valid': {...}, 'test': {...}}")
    missing = [s for s in SPLITS if s not in content]
    if missing:
        raise problem(
            path,
            missing[0],
            found=f"no such split; the file has the keys {_names(content)}",
            expected="the splits train, valid and test",
            do=f"add the split {missing[0]!r}, or rename the one that is meant",
        )
    corpus = Corpus({}, synthetic=content.get("synthetic") is True)
    for name in SPLITS:
        corpus.splits[name] = _check_split(content[name], name, path, keys, corpus.notes)
    _check_across_splits(corpus, path, keys)
    return corpus


def _check_split(content: dict[Any, Any], name: str, path: Path, keys: Mapping[str, str], notes: list[str]) -> Split:
    for key in ("id", *keys.values()):
        if key not in content:
            raise problem(
                path,
                f"{name}/{key}",
                found=f"no such key; the split has the keys {_names(content)}",
                expected=f"the keys {', '.join(('id', *keys.values()))} and regression_labels or classification_labels",
                do="add it, or tell under which key each modality lies, for example data.modalities.language=text",
            )
    if not any(content.get(key) is not None for key in ("regression_labels", "classification_labels")):
        raise problem(
            path,
            f"{name}/regression_labels",
            found=f"no labels; the split has the keys {_names(content)}",
            expected="regression_labels (N numbers) or classification_labels (N class numbers from 0)",
            do="add one of them",
        )
    ids = strings_of(content["id"], path, f"{name}/id")
    if not ids:
        raise problem(
            path, f"{name}/id", found="no samples", expected="at least one sample a split", do="move some samples into this split"
        )
    n = len(ids)
    features, real = {}, {}
    for modality, key in keys.items():
        features[modality] = features_of(content[key], n, path, f"{name}/{key}")
        lengths = lengths_of(content.get(f"{key}_lengths"), n, features[modality].shape[1], path, f"{name}/{key}_lengths", notes)
        real[modality], fits = real_ranges(features[modality], lengths)
        if not fits:
            notes.append(
                f"{name}/{key}_lengths contradicts {name}/{key}: there are non-zero frames beyond the lengths, on either side; "
                "the lengths are ignored and padding is inferred from zero frames"
            )
    raw_text = content.get("raw_text")
    texts = None if raw_text is None else strings_of(raw_text, path, f"{name}/raw_text", n)
    return Split(
        ids=ids,
        features=features,
        real=real,
        regression=labels_of(content.get("regression_labels"), n, path, f"{name}/regression_labels"),
        classification=_classes(content, n, path, name),
        tokens=tokens_of(content.get("text_bert"), n, path, f"{name}/text_bert"),
        raw_text=texts if texts and any(t.strip() for t in texts) else None,
    )


def _classes(content: dict[Any, Any], n: int, path: Path, name: str) -> npt.NDArray[np.int64] | None:
    key = f"{name}/classification_labels"
    values = labels_of(content.get("classification_labels"), n, path, key)
    if values is None:
        return None
    whole = (values == np.rint(values)) & (np.abs(values) < 2**24)  # beyond, float32 has no whole numbers of its own
    if not np.all(whole):
        odd = values[~whole][0]
        raise problem(
            path, key, found=f"the class {odd:g}", expected="whole class numbers", do="put real-valued labels in regression_labels"
        )
    return values.astype(np.int64)


def _check_across_splits(corpus: Corpus, path: Path, keys: Mapping[str, str]) -> None:
    train = corpus.splits["train"]
    for name in ("valid", "test"):
        for modality, key in keys.items():
            shape, expected = corpus.splits[name].features[modality].shape[1:], train.features[modality].shape[1:]
            if shape != expected:
                raise problem(
                    path,
                    f"{name}/{key}",
                    found=f"(T, d) = {shape}",
                    expected=f"{expected} as in train",
                    do="pad or cut all splits to one length and use one set of features",
                )
        tokens, of_train = corpus.splits[name].tokens, train.tokens
        if (tokens is None) != (of_train is None) or (tokens is not None and of_train is not None and tokens.shape[2] != of_train.shape[2]):
            found = "none" if tokens is None else str(tokens.shape)
            expected_tokens = "none" if of_train is None else f"(N, 3, {of_train.shape[2]})"
            raise problem(
                path,
                f"{name}/text_bert",
                found=found,
                expected=f"{expected_tokens} as in train",
                do="tokenise all splits alike, or leave text_bert out",
            )
        for what in ("regression", "classification"):
            if (getattr(corpus.splits[name], what) is None) != (getattr(train, what) is None):
                raise problem(
                    path,
                    f"{name}/{what}_labels",
                    found="present in one split, absent in another",
                    expected="the same labels in every split",
                    do="add them where they are missing, or leave them out everywhere",
                )
    if any(split.raw_text is None for split in corpus.splits.values()):
        for split in corpus.splits.values():
            split.raw_text = None
    names = list(corpus.splits)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            _check_apart(corpus, a, b, path)


def _check_apart(corpus: Corpus, a: str, b: str, path: Path) -> None:
    shared = sorted(set(corpus.splits[a].ids) & set(corpus.splits[b].ids))
    if shared:
        raise problem(
            path,
            f"{b}/id",
            found=f"{len(shared)} ids that are in {a} too, the first {shared[0]!r}",
            expected="no sample in two splits: what is trained on cannot be tested on",
            do=f"take them out of {a} or {b}",
        )
    videos = {s: {i.rsplit("$_$", 1)[0] for i in corpus.splits[s].ids if "$_$" in i} for s in (a, b)}
    if both := sorted(videos[a] & videos[b]):
        corpus.notes.append(f"{len(both)} videos have clips in both {a} and {b}, the first {both[0]!r}: the splits are not independent")


def check_label_range(labels: npt.NDArray[Any], low: float, high: float, path: Path | str, key: str) -> None:
    """Check that labels lie in [low, high].

    Raises:
        DataError: a label is outside; the message names the first and the count.
    """
    outside = np.flatnonzero((labels < low) | (labels > high))
    if len(outside):
        raise problem(
            path,
            key,
            found=f"{len(outside)} labels outside the range, from {labels.min():g} to {labels.max():g}; the first in row {outside[0]}",
            expected=f"labels from {low:g} to {high:g}",
            do=f"rescale the labels, or widen the range with data.label_range=[{min(labels.min(), low):g},{max(labels.max(), high):g}]",
        )


def _type_of(content: Any) -> str:
    return f"a value of type {type(content).__name__}" + (f" and length {len(content)}" if isinstance(content, list | tuple) else "")


def _names(content: dict[Any, Any]) -> str:
    names = [str(k)[:40] for k in list(content)[:20]]
    return ", ".join(names) if names else "none"
