"""Tiny files in every layout that is read, with its keys, types, shapes and vices; random numbers inside.

python layout_files.py FOLDER writes one of each.
"""

from __future__ import annotations

import csv
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Content = dict[str, Any]
SIZES = {"train": 8, "valid": 4, "test": 4}


def left_padded(rng: np.random.Generator, n: int, length: int, width: int, words: Any) -> Any:
    x = rng.normal(size=(n, length, width)).astype(np.float32)
    x[np.arange(length) < length - words[:, None]] = 0
    return x


def make_mult(ids: bool = True, seed: int = 0) -> Content:
    """mosi_data.pkl of MulT: ids (N, 3) of bytes, labels (N, 1, 1), -inf in the audio."""
    rng = np.random.default_rng(seed)
    content: Content = {}
    for split, n in SIZES.items():
        words = rng.integers(2, 11, size=n)
        part: Content = {k: left_padded(rng, n, 10, d, words) for k, d in (("text", 12), ("audio", 5), ("vision", 7))}
        part["audio"][0, -1, 0] = -np.inf
        part["text"] = part["text"].astype(np.float64)
        part["labels"] = rng.uniform(-3, 3, size=(n, 1, 1)).astype(np.float32)
        if ids:
            rows = [[f"{split}video{i // 2}".encode(), f"{i}.5".encode(), f"{i}.9".encode()] for i in range(n)]
            part["id"] = np.array(rows)
        content[split] = part
    return content


def make_multibench(kind: str = "humor", seed: int = 0) -> Content:
    """humor.pkl (labels 0 and 1, numbers as ids) or sarcasm.pkl (labels -1 and 1, strings as ids): audio 81, vision 371."""
    rng = np.random.default_rng(seed)
    content: Content = {}
    for at, (split, n) in enumerate(SIZES.items()):
        words = rng.integers(2, 11, size=n)
        part: Content = {k: left_padded(rng, n, 10, d, words) for k, d in (("vision", 371), ("audio", 81), ("text", 300))}
        part["audio"][0, -1, 3] = -np.inf
        classes = np.arange(n) % 2
        if kind == "humor":
            part["labels"], part["id"] = classes[:, None], np.arange(100 * at, 100 * at + n)[:, None]
        else:
            part["labels"] = (2.0 * classes - 1)[:, None, None]
            part["id"] = np.array([f"{1 + at}_{i}" for i in range(n)])
        content[split] = part
    content["train"]["text"][3] = 0  # a sample without text
    return content


def make_sims(v2: bool = False, aligned: bool = False, seed: int = 0) -> Content:
    """unaligned_39.pkl of CH-SIMS (text 39 x 768, audio 400 x 33, vision 55 x 709), or a v2 file with its train_mix."""
    rng = np.random.default_rng(seed)
    content: Content = {}
    for split, n in (SIZES | {"train_mix": 6} if v2 else SIZES).items():
        words = rng.integers(3, 38, size=n)
        text = rng.normal(size=(n, 39, 768)).astype(np.float32) * (np.arange(39) < words[:, None])[..., None]
        ids = np.where(np.arange(39) < words[:, None], rng.integers(101, 21128, (n, 39)), 0)
        part: Content = {
            "id": [f"video_{split}_{i // 2}$_${i:04d}" for i in range(n)],
            "raw_text": ["我不想嫁给李茶" for _ in range(n)],
            "text": text.astype(np.float32),
            "text_bert": np.stack([ids, ids > 0, 0 * ids], axis=1).astype(np.float32),
            "annotations": ["Neutral"] * n,
            "classification_labels": np.arange(n) % 3,
        }
        for m in ("", "_T", "_A", "_V"):
            part[f"regression_labels{m}"] = np.round(rng.uniform(-1, 1, size=n) * 5) / 5
        for key, length, width in (("audio", 39 if aligned else 400, 33), ("vision", 39 if aligned else 55, 709)):
            frames = words if aligned else rng.integers(1, length + 1, size=n)
            real = np.arange(length) < frames[:, None]
            part[key] = (rng.normal(size=(n, length, width)) * real[..., None]).astype(np.float32)
            if not aligned:
                part[f"{key}_lengths"] = frames.tolist()
        if v2:
            del part["raw_text"]
        if split == "train_mix":
            part["mask"] = np.arange(n) < 2
            part["regression_labels"] = np.where(part["mask"], part["regression_labels"], np.nan)
        content[split] = part
    return content


def write_folder(folder: Path, by_sample: bool = False, seed: int = 0, **columns: list[str]) -> dict[str, Any]:
    """Own features: samples.csv and three modalities; returns what was written, in the order of the csv."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    split = [s for s, n in SIZES.items() for _ in range(n)]
    order = rng.permutation(len(split))
    split = [split[i] for i in order]
    n = len(split)
    ids = [f"video{i // 2}$_${i % 2}" for i in order]
    label = np.round(rng.uniform(-3, 3, size=n), 2)
    table = {"id": ids, "split": split, "label": [str(x) for x in label], "text": [f'"sample", {i}' for i in order], **columns}
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(table)
        rows.writerows(zip(*table.values(), strict=True))
    written: dict[str, Any] = {"ids": ids, "split": split, "label": label}
    for name, length, width in (("language", 6, 4), ("vision", 9, 3), ("acoustic", 5, 2)):
        frames = rng.integers(1, length + 1, size=n)
        frames[0] = length
        x = rng.normal(size=(n, length, width)).astype(np.float32) * (np.arange(length) < frames[:, None])[..., None]
        written[name], written[f"{name}_lengths"] = x.astype(np.float32), frames
        if by_sample:
            (folder / name).mkdir()
            for i, sample in enumerate(ids):
                np.save(folder / name / f"{sample}.npy", x[i, : frames[i]])
        else:
            np.save(folder / f"{name}.npy", x.astype(np.float32))
            np.save(folder / f"{name}_lengths.npy", frames)
    return written


def write_mustard(source: Path, folder: Path) -> int:
    """MUStARD's texts, labels, speakers and shows as a folder with one csv; train and valid share shows, test is Friends."""
    with np.load(source, allow_pickle=False) as z:
        columns = {k: z[k].tolist() for k in ("ids", "raw_text", "labels", "speaker", "show")}
    folder.mkdir(parents=True)
    with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "split", "class", "text", "speaker", "show"))
        for i, (name, text, label, speaker, show) in enumerate(zip(*columns.values(), strict=True)):
            split = "test" if show == "FRIENDS" else "valid" if i % 10 == 0 else "train"
            rows.writerow((name, split, label, text, speaker, show))
    return len(columns["ids"])


def change_csv(path: Path, change: Callable[[list[list[str]]], Any]) -> None:
    rows = list(csv.reader(path.open(newline="")))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def set_cell(row: int, column: int, value: str) -> Callable[[list[list[str]]], Any]:
    return lambda rows: rows[row].__setitem__(column, value)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("mosi_data.pkl", make_mult()),
        ("humor.pkl", make_multibench("humor")),
        ("sarcasm.pkl", make_multibench("sarcasm")),
        ("unaligned_39.pkl", make_sims()),
        ("sims_v2.pkl", make_sims(v2=True)),
    ):
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))
    write_folder(folder / "own")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
