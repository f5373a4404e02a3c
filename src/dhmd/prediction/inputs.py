"""Reading of samples to be predicted: from a pickle, a store, or a folder of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dhmd.data.layouts import KEYS, SPLITS, layout_of
from dhmd.data.layouts.folder import modality_keys
from dhmd.data.layouts.unlabelled import NO_SPLIT, unlabelled
from dhmd.data.sources.fields import features_of, lengths_of, strings_of, tokens_of
from dhmd.data.sources.frames import real_ranges
from dhmd.data.sources.safe_pickle import load
from dhmd.data.store.reader import MAGIC, Store
from dhmd.errors import DataError, UsageError, data_error, names_of
from dhmd.prediction.samples import Samples

EXPECTED = "a feature pickle, a store, or a folder with one npy file a modality (language.npy, vision.npy, acoustic.npy)"


def read_samples(
    path: str | Path, modalities: tuple[str, ...], keys: Mapping[str, str] | Sequence[str] | None = None, split: str | None = None
) -> dict[str, Samples]:
    """Return the samples of a file or folder by split.

    Args:
        path: a feature pickle, a store, or a folder of arrays.
        modalities: modalities to read; labels, other modalities and some of the splits may be absent.
        keys: ``data.modalities`` of the run: a map of names to keys of a pickle or files of a folder; a list or None for the layout's own.
        split: the split to read; None for all.

    Raises:
        DataError: the input is missing, fits no layout, or lacks a modality.
        UsageError: there is no such split.
    """
    path = Path(path).expanduser()
    named = {m: k for m, k in keys.items() if m in modalities} if isinstance(keys, Mapping) else {}
    if path.is_dir():
        found = _of_folder(path, modalities, named)
    else:
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    found = _of_store(path, modalities, split)
                else:
                    file.seek(0)
                    found = _of_content(load(file, path), path, modalities, named)
        except OSError as error:
            do = "check the spelling; a relative path starts at the folder where the command runs"
            raise data_error(path, "", found=f"nothing that can be read ({error.strerror})", expected=EXPECTED, do=do) from None
    if split is None:
        return found
    if split not in found:
        there = ", ".join(found) if NO_SPLIT not in found else "none (it is a folder of arrays)"
        raise UsageError(f"split: found {split!r}, {path} has {there}")
    return {split: found[split]}


def _of_store(path: Path, modalities: tuple[str, ...], split: str | None) -> dict[str, Samples]:
    store = Store(path)
    if absent := [m for m in modalities if m not in store.modalities]:
        raise _no_modality(path, absent[0], absent[0], store.modalities)
    return {
        s: Samples(
            where=f"{path}: {s}",
            ids=store.ids(s),
            features={m: store.features(s)[m] for m in modalities},
            real={m: store.real(s)[m] for m in modalities},
            tokens=store.tokens(s),
            texts=store.raw_text(s),
            path=path,
            split=s,
            keys=store.keys,
        )
        for s in store.splits
        if split in (None, s)
    }


def _of_content(content: Any, path: Path, modalities: tuple[str, ...], named: Mapping[str, str]) -> dict[str, Samples]:
    keys = {m: named.get(m, KEYS.get(m, m)) for m in modalities}
    splits = {str(k): v for k, v in content.items() if isinstance(v, dict)} if isinstance(content, dict) else {}
    whole = set(SPLITS) <= set(splits) or not isinstance(content, dict)
    if whole and (layout := layout_of(content, path)).name != "mmsa":  # the samples have keys of their own
        canonical = layout.canonical(content, path, None)
        splits, keys = dict(canonical.splits), {m: named.get(m, canonical.keys.get(m, m)) for m in modalities}
    if not splits and isinstance(content, dict) and any(key in content for key in (*keys.values(), "text_bert", "raw_text")):
        splits = {NO_SPLIT: content}  # the samples without a split around them
    if not splits:
        found = f"a pickled {type(content).__name__}" + (f" with the keys {names_of(content)}" if isinstance(content, dict) else "")
        do = "pickle {'test': {'id': [...], 'text': array, 'vision': array, 'audio': array}}"
        raise data_error(path, "", found=found, expected="a dict of splits, each a dict of arrays (N, T, d)", do=do)
    return {name: _of_split(part, name, path, keys) for name, part in splits.items()}


def _of_split(content: dict[Any, Any], name: str, path: Path, keys: Mapping[str, str]) -> Samples:
    prefix = f"{name}/" if name else ""
    for modality, key in keys.items():
        if key not in content:
            raise _no_modality(path, f"{prefix}{key}", modality, content)
    ids = _ids(content, path, prefix, (*keys.values(), "text_bert", "raw_text"))
    features = {m: features_of(content[key], len(ids), path, f"{prefix}{key}") for m, key in keys.items()}
    real = {}
    for m, key in keys.items():
        lengths = lengths_of(content.get(f"{key}_lengths"), len(ids), features[m].shape[1], path, f"{prefix}{key}_lengths", [])
        real[m] = real_ranges(features[m], lengths)[0]
    texts = content.get("raw_text")
    return Samples(
        where=f"{path}: {name}" if name else str(path),
        ids=ids,
        features={m: x.read() for m, x in features.items()},
        real=real,
        tokens=tokens_of(content.get("text_bert"), len(ids), path, f"{prefix}text_bert"),
        texts=None if texts is None else strings_of(texts, path, f"{prefix}raw_text", len(ids)),
        path=path,
        split=name,
        keys=keys,
    )


def _ids(content: dict[Any, Any], path: Path, prefix: str, keys: tuple[str, ...]) -> list[str]:
    """Return the ids given, or else the numbers of the samples."""
    if content.get("id") is not None:
        return strings_of(content["id"], path, f"{prefix}id")
    first = next((content[k] for k in keys if content.get(k) is not None), ())
    return [str(i) for i in range(len(first) if hasattr(first, "__len__") else 0)]


def _of_folder(path: Path, modalities: tuple[str, ...], named: Mapping[str, str]) -> dict[str, Samples]:
    """Read a folder like a training folder (`dhmd.data.layouts.folder`) whose csv and columns split, label and class are optional."""
    own = modality_keys(path)
    keys = {**own, **{m: k for m, k in named.items() if k in own.values()}}
    if absent := [m for m in modalities if m not in keys]:
        raise _no_modality(path, f"{absent[0]}.npy", absent[0], keys)
    parts = unlabelled(path, [keys[m] for m in modalities])
    return {name: _of_split(part, name, path, {m: keys[m] for m in modalities}) for name, part in parts.items()}


def _no_modality(path: Path, key: str, modality: str, there: Any) -> DataError:
    do = f"add the {modality} features that the run was trained with; the run reads them"
    return data_error(path, key, found=f"nothing; there are {names_of(there)}", expected=f"features of the modality {modality}", do=do)
