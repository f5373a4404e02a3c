"""A checked data set in memory, and the check of a pickle's content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.batch import name_fault
from dhmd.data.layouts import KEYS as KEYS
from dhmd.data.layouts import SPLITS as SPLITS
from dhmd.data.layouts import Canonical, layout_of
from dhmd.data.sources.fields import features_of, labels_of, lengths_of, strings_of, tokens_of
from dhmd.data.sources.frames import real_ranges
from dhmd.data.sources.lazy_array import DiskArray, Features
from dhmd.errors import data_error, names_of


@dataclass
class Split:
    """One split of N samples.

    Attributes:
        ids: N distinct names, for example ``video$_$clip``.
        features: per modality (N, T_m, d_m), read as float32; zero outside the real frames.
        real: per modality (N, 2) int32, the first real frame and the one after the last.
        regression: (N,) float32 or None.
        classification: (N,) int64 or None.
        tokens: (N, 3, T) int32 ids, mask, segments, or None.
        raw_text: N strings, or None where there is no text.
        groups: groupings by name, N strings each: samples with the same string can be kept together.
    """

    ids: list[str]
    features: dict[str, Features]
    real: dict[str, npt.NDArray[np.int32]]
    regression: npt.NDArray[np.float32] | None
    classification: npt.NDArray[np.int64] | None
    tokens: npt.NDArray[np.int32] | None
    raw_text: list[str] | None
    groups: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, first: int, stop: int) -> Split:
        """Return the samples from ``first`` to before ``stop``; arrays are views, and features are not read yet."""
        part: dict[str, Any] = {"ids": self.ids[first:stop]}
        for name in ("regression", "classification", "tokens", "raw_text"):
            value = getattr(self, name)
            part[name] = None if value is None else value[first:stop]
        for name in ("real", "groups"):
            part[name] = {k: v[first:stop] for k, v in getattr(self, name).items()}
        part["features"] = {m: x.rows(first, stop) for m, x in self.features.items()}
        return Split(**part)


@dataclass(frozen=True)
class About:
    """Properties of a data set, apart from its samples.

    Attributes:
        keys: the key of the source that holds each modality, in modality order.
        layout: layout of the source (``dhmd.data.layouts``).
        synthetic: whether the data was generated.
        text_only: whether the language's features are a placeholder, because the source has only texts.
        notes: remarks for the user, in sentences; may grow while samples are checked.
    """

    keys: Mapping[str, str] = field(default_factory=lambda: dict(KEYS))
    layout: str = "mmsa"
    synthetic: bool = False
    text_only: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class Corpus:
    """A checked data set with its splits train, valid and test."""

    about: About
    splits: dict[str, Split]
    dtypes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Data type of each modality in the source, by split."""


def check_corpus(content: Any, path: Path, keys: Mapping[str, str] | None = None, layout: str | None = None) -> Corpus:
    """Check the content of a file and bring it to one form.

    Args:
        content: content of the file; arrays of a fitting type are used without a copy.
        path: path of the file, for messages.
        keys: the key that holds each modality, in modality order; None for the layout's own keys.
        layout: the layout's name; None to recognise it from the content.

    Returns:
        The corpus; the range of its labels is not checked here.

    Raises:
        DataError: the content is not of the layout; the message names file, key, what was found and expected, and what to do.
    """
    found = layout_of(content, path, layout)
    canonical = found.canonical(content, path, keys)
    _check_names(canonical, path)
    about = About(canonical.keys, found.name, canonical.synthetic, canonical.text_only, canonical.notes)
    corpus = Corpus(about, {})
    for name in SPLITS:
        corpus.splits[name] = check_split(canonical, name, path)
        arrays = {m: canonical.splits[name][key] for m, key in canonical.keys.items()}
        corpus.dtypes[name] = {m: str(x.dtype if isinstance(x, DiskArray) else np.asarray(x).dtype) for m, x in arrays.items()}
    _check_across_splits(corpus, path)
    if keys is None:
        about.notes.extend(_unread(canonical))
    return corpus


def _unread(canonical: Canonical) -> list[str]:
    """Return a sentence for each array of the file that could be a modality and is not read."""
    train, read = canonical.splits["train"], dict(canonical.keys)
    sentences = []
    for key, x in train.items():
        known = key in read.values() or key in ("text_bert", "regression_labels", "classification_labels")
        if isinstance(key, str) and isinstance(x, np.ndarray | DiskArray) and x.ndim == 3 and x.dtype.kind in "fiu" and not known:
            every = ", ".join(f"{m}: {k}" for m, k in {**read, "NAME" if name_fault(key) else key: key}.items())
            sentences.append(f"{key} {x.shape} is not read; data.modalities={{{every}}} reads it")
    return sentences


def _check_names(canonical: Canonical, path: Path) -> None:
    for name, key in canonical.keys.items():
        if fault := name_fault(name):
            others = ", ".join(f"{n}: {k}" for n, k in canonical.keys.items() if n != name)
            raise data_error(
                path, key, found=f"a modality {name!r}, which {fault}", expected="a name such as gesture",
                do=f"name it yourself, for example data.modalities={{{others}{', ' if others else ''}gesture: {key}}}",
            )  # fmt: skip


def check_split(canonical: Canonical, name: str, path: Path, labelled: bool = True) -> Split:
    """Check one split; remarks for the user are added to ``canonical.notes``.

    Args:
        canonical: the content.
        name: name of the split.
        path: path of the file, for messages.
        labelled: whether labels are required.

    Raises:
        DataError: as for `check_corpus`.
    """
    content, keys, notes = canonical.splits[name], canonical.keys, canonical.notes
    for key in ("id", *keys.values()):
        if key not in content:
            raise data_error(
                path,
                f"{name}/{key}",
                found=f"no such key; the split has the keys {names_of(content)}",
                expected=f"the keys {', '.join(('id', *keys.values()))} and regression_labels or classification_labels",
                do="add it, or tell under which key each modality lies, for example data.modalities.language=text",
            )
    if labelled and not any(content.get(key) is not None for key in ("regression_labels", "classification_labels")):
        raise data_error(
            path,
            f"{name}/regression_labels",
            found=f"no labels; the split has the keys {names_of(content)}",
            expected="regression_labels (N numbers) or classification_labels (N class numbers from 0)",
            do="add one of them",
        )
    ids = strings_of(content["id"], path, f"{name}/id")
    if not ids:
        raise data_error(
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
        groups=canonical.groups[name] if canonical.groups else {},
    )


def _classes(content: dict[Any, Any], n: int, path: Path, name: str) -> npt.NDArray[np.int64] | None:
    key = f"{name}/classification_labels"
    values = labels_of(content.get("classification_labels"), n, path, key)
    if values is None:
        return None
    whole = (values == np.rint(values)) & (np.abs(values) < 2**24)  # float32 does not represent all larger whole numbers
    if not np.all(whole):
        odd = values[~whole][0]
        raise data_error(
            path, key, found=f"the class {odd:g}", expected="whole class numbers", do="put real-valued labels in regression_labels"
        )
    return values.astype(np.int64)


def _check_across_splits(corpus: Corpus, path: Path) -> None:
    train, keys = corpus.splits["train"], corpus.about.keys
    for name in ("valid", "test"):
        for modality, key in keys.items():
            shape, expected = corpus.splits[name].features[modality].shape[1:], train.features[modality].shape[1:]
            if shape != expected:
                raise data_error(
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
            raise data_error(
                path,
                f"{name}/text_bert",
                found=found,
                expected=f"{expected_tokens} as in train",
                do="tokenise all splits alike, or leave text_bert out",
            )
        for what in ("regression", "classification"):
            if (getattr(corpus.splits[name], what) is None) != (getattr(train, what) is None):
                raise data_error(
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
        raise data_error(
            path,
            f"{b}/id",
            found=f"{len(shared)} ids that are in {a} too, the first {shared[0]!r}",
            expected="no sample in two splits: what is trained on cannot be tested on",
            do=f"take them out of {a} or {b}",
        )
    videos = {s: {i.rsplit("$_$", 1)[0] for i in corpus.splits[s].ids if "$_$" in i} for s in (a, b)}
    if both := sorted(videos[a] & videos[b]):
        corpus.about.notes.append(
            f"{len(both)} videos have clips in both {a} and {b}, the first {both[0]!r}: the splits are not independent"
        )
