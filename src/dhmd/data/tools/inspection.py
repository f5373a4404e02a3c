"""Inspection of a feature file before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dhmd.data.catalog import identify, published_files
from dhmd.data.convert import open_source
from dhmd.data.layouts import Canonical
from dhmd.data.layouts.folder import Folder, NpyFolder, modality_keys
from dhmd.data.layouts.unlabelled import lacking, unlabelled
from dhmd.data.progress import progress
from dhmd.data.sources.checked import About, Corpus, Split, check_corpus, check_split
from dhmd.data.sources.fingerprint import sha256_of, state_of
from dhmd.data.sources.frames import CHUNK
from dhmd.data.sources.lazy_array import Features
from dhmd.data.sources.safe_pickle import load
from dhmd.data.store.reader import MAGIC, Store
from dhmd.data.store.statistics import FrameStatistics, count_non_finite, few_samples, varies
from dhmd.errors import DataError


@dataclass(frozen=True)
class Modality:
    """One modality over all splits.

    Attributes:
        key: the key that holds it in the file.
        length: stored frames T.
        width: features d.
        dtype: data type of the file's arrays.
        padding: ``left``, ``right``, ``both sides`` or ``none``.
        frames: minimum, mean and maximum number of real frames of a sample.
        non_finite: NaN and infinite values per split.
        frozen: features that never vary over the real frames of train, or of the first split if there is no train.
        constant: whether no feature varies.
    """

    key: str
    length: int
    width: int
    dtype: str
    padding: str
    frames: tuple[int, float, int]
    non_finite: dict[str, int]
    frozen: int
    constant: bool


@dataclass(frozen=True)
class Inspection:
    """Content of a feature file.

    Attributes:
        path: the file.
        kind: pickle, folder or store.
        layout: layout of the content, or of a store's source.
        size: bytes.
        sha256: SHA-256 of the content, or of a store's source.
        published_as: name of the published file that has this SHA-256, None if none has.
        synthetic: whether it was generated.
        samples: number of samples per split; ``all`` if a folder names no splits.
        videos: number of videos per split; None if ids name none.
        aligned: whether all modalities have the same number of frames.
        labels: minimum, mean and maximum regression label; None without such labels.
        classes: number of samples of each class, per split; None without classes.
        tokens: T of text_bert, None without.
        texts: whether there are texts.
        modalities: modalities by name, in order.
        notes: remarks for the user, in sentences.
    """

    path: str
    kind: str
    layout: str
    size: int
    sha256: str
    published_as: str | None
    synthetic: bool
    samples: dict[str, int]
    videos: dict[str, int] | None
    aligned: bool
    labels: tuple[float, float, float] | None
    classes: dict[str, dict[int, int]] | None
    tokens: int | None
    texts: bool
    modalities: dict[str, Modality]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the inspection as plain values that JSON can hold."""
        return asdict(self)

    @property
    def verdict(self) -> str:
        """Conclusion from the file's SHA-256."""
        if self.synthetic:
            return "generated, not a published file"
        if self.published_as is None:
            return f"none of the {len(published_files())} published files whose hash is known"
        file = published_files()[self.published_as]
        return f"{self.published_as}: the published {file.file} of {file.dataset}"


def inspect_file(path: Path | str, keys: Mapping[str, str] | None = None, layout: str | None = None) -> Inspection:
    """Inspect a feature pickle, a folder of arrays or a store; nothing is written.

    Args:
        path: path of the file or folder.
        keys: the key that holds each modality, in modality order; None for the layout's own keys.
        layout: the layout's name; None to recognise it from the content.

    Raises:
        DataError: the file is missing, unreadable, or not of the layout.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _inspection(path, "folder", _of_folder(path, keys, layout), state_of(path).size, sha256_of(path))
    with open_source(path) as opened:
        if isinstance(opened, Folder):  # the folder has just appeared
            return inspect_file(path, keys, layout)
        if opened.read(len(MAGIC)) == MAGIC:
            store = Store(path, keys)
            kind, corpus, size, sha256 = "store", corpus_of(store), state_of(opened).size, store.source_sha256
        else:
            size, sha256 = state_of(opened).size, sha256_of(opened)
            kind, corpus = "pickle", check_corpus(load(opened, path, large_stay=True), path, keys, layout)
        return _inspection(path, kind, corpus, size, sha256)


def _of_folder(path: Path, keys: Mapping[str, str] | None, layout: str | None) -> Corpus:
    """Inspect a folder of arrays; a folder that suffices for predictions only is reported in the notes."""
    try:
        with open_source(path) as opened:
            return check_corpus(opened, path, keys, layout)
    except DataError as error:
        if layout not in (None, NpyFolder.name):
            raise
        try:
            corpus = _for_prediction(path, keys)
            lacks = lacking(path)
        except DataError:
            corpus = None
        if corpus is None:
            raise
        why = f"it lacks {', and '.join(lacks)}" if lacks else "; ".join(" ".join(line.split()) for line in str(error).splitlines())
        corpus.about.notes.append(f"good for dhmd predict, not for training: {why}")
        return corpus


def _for_prediction(path: Path, keys: Mapping[str, str] | None) -> Corpus | None:
    """Return the parts of a folder that `dhmd predict` reads; None if there are neither features nor texts.

    Raises:
        DataError: there are several csv files, or an array does not fit.
    """
    keys = dict(keys or modality_keys(path))
    parts = unlabelled(path, list(keys.values()))
    if not keys and all(part.get("raw_text") is None for part in parts.values()):
        return None
    corpus = Corpus(About(keys, NpyFolder.name), {})
    for name, part in parts.items():
        unlabelled_part = Canonical({name: part}, keys, notes=corpus.about.notes)
        corpus.splits[name or "all"] = check_split(unlabelled_part, name, path, labelled=False)
        corpus.dtypes[name or "all"] = {m: str(part[key].dtype) for m, key in keys.items()}
    return corpus


def corpus_of(store: Store) -> Corpus:
    """Return a store as a data set whose features stay on disk behind memory maps."""
    about = About(store.keys, store.layout, store.synthetic, store.text_only, list(store.notes))
    splits = {
        s: Split(
            store.ids(s),
            {m: Features(x) for m, x in store.features(s).items()},
            store.real(s),
            store.labels(s),
            store.labels(s, "classification"),
            store.tokens(s),
            store.raw_text(s),
            store.groups(s),
        )
        for s in store.splits
    }
    return Corpus(about, splits, {s: dict.fromkeys(store.modalities, "float32") for s in store.splits})


def _inspection(path: Path, kind: str, corpus: Corpus, size: int, sha256: str) -> Inspection:
    train, published = _first(corpus), identify(sha256)
    modalities = {m: _modality(corpus, m) for m in train.features}
    labels = [s.regression for s in corpus.splits.values() if s.regression is not None]
    together = np.concatenate(labels) if labels else None
    videos = {name: {i.rsplit("$_$", 1)[0] for i in s.ids if "$_$" in i} for name, s in corpus.splits.items()}
    return Inspection(
        path=str(path),
        kind=kind,
        layout=corpus.about.layout,
        size=size,
        sha256=sha256,
        published_as=published.name if published else None,
        synthetic=corpus.about.synthetic,
        samples={name: len(split) for name, split in corpus.splits.items()},
        videos={name: len(v) for name, v in videos.items()} if all(videos.values()) else None,
        aligned=len({m.length for m in modalities.values()}) == 1,
        labels=None if together is None else (float(together.min()), float(together.mean()), float(together.max())),
        classes=None if train.classification is None else {name: _counts(split) for name, split in corpus.splits.items()},
        tokens=None if train.tokens is None else train.tokens.shape[2],
        texts=train.raw_text is not None,
        modalities=modalities,
        notes=[*corpus.about.notes, *few_samples({name: len(split) for name, split in corpus.splits.items()})],
    )


def _first(corpus: Corpus) -> Split:
    """Return train, or the first split if there is no train."""
    return corpus.splits.get("train") or next(iter(corpus.splits.values()))


def _counts(split: Split) -> dict[int, int]:
    classes, n = np.unique(np.asarray(split.classification), return_counts=True)
    return {int(c): int(k) for c, k in zip(classes, n, strict=True)}


def _modality(corpus: Corpus, name: str) -> Modality:
    train = _first(corpus).features[name]
    fitted = next(n for n, split in corpus.splits.items() if split is _first(corpus))
    _, length, width = train.shape
    statistics = FrameStatistics(width)
    non_finite = dict.fromkeys(corpus.splits, 0)
    total = sum(len(s) for s in corpus.splits.values())
    with progress(f"looking at {name}", total, "samples") as advance:
        for split_name, split in corpus.splits.items():
            for first in range(0, len(split), CHUNK):
                x = split.features[name].rows(first, first + CHUNK).read()
                non_finite[split_name] += count_non_finite(x)[0]
                if split_name == fitted:
                    statistics.add(x, split.real[name][first : first + CHUNK])
                advance(len(x))
    real = np.concatenate([s.real[name] for s in corpus.splits.values()])
    frames, some = real[:, 1] - real[:, 0], real[:, 1] > real[:, 0]
    sides = [side for side, there in (("left", real[some, 0] > 0), ("right", real[some, 1] < length)) if there.any()]
    moving = varies(statistics.result())
    return Modality(
        key=corpus.about.keys[name],
        length=length,
        width=width,
        dtype=corpus.dtypes[fitted][name],
        padding="both sides" if len(sides) == 2 else sides[0] if sides else "none",
        frames=(int(frames.min()), float(frames.mean()), int(frames.max())),
        non_finite=non_finite,
        frozen=int((~moving).sum()),
        constant=not moving.any(),
    )
