"""dhmd data inspect, convert, verify, synth: what they say is so."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from feature_files import make_content
from layout_files import make_mult, make_sims, write_folder

from dhmd.data import progress as progress_room
from dhmd.data.catalog import published_files
from dhmd.data.cli import SIZE_NAMES, add_verbs
from dhmd.data.convert import open_or_convert
from dhmd.data.progress import progress, silent
from dhmd.data.store.reader import Store
from dhmd.data.synthetic import generator as synthetic
from dhmd.data.synthetic.files import SIZES, synthesise
from dhmd.data.synthetic.generator import SyntheticOptions, generate
from dhmd.data.tools.inspection import inspect_file
from dhmd.data.tools.verification import verify_store
from dhmd.errors import DataError, UsageError

Write = Callable[..., Path]


def run(*arguments: Any) -> None:
    parser = argparse.ArgumentParser()
    add_verbs(parser)
    options = parser.parse_args([str(a) for a in arguments])
    options.run(options)


def test_the_names_on_the_command_line_are_those_there_are() -> None:
    assert tuple(SIZES) == SIZE_NAMES


def test_an_aligned_pickle_is_described(write: Write) -> None:
    content = make_content()
    content["train"]["vision"][..., 1] = np.where(content["train"]["vision"][..., 0] != 0, 7.5, 0)
    content["train"]["audio"] = content["train"]["audio"].astype(np.float64)
    found = inspect_file(write(content))
    assert (found.kind, found.layout, found.aligned, found.synthetic) == ("pickle", "mmsa", True, False)
    assert found.samples == {"train": 7, "valid": 3, "test": 4}
    assert found.videos == {"train": 4, "valid": 2, "test": 2}
    labels = np.concatenate([content[s]["regression_labels"] for s in content])
    assert found.labels == (labels.min(), pytest.approx(labels.mean()), labels.max())
    assert found.classes is not None
    assert found.classes["train"] == {0: 3, 1: 2, 2: 2}
    assert (found.tokens, found.texts) == (6, True)
    language, vision, acoustic = found.modalities.values()
    assert (language.key, language.length, language.width, language.padding) == ("text", 6, 4, "right")
    assert (vision.padding, vision.frozen, vision.constant) == ("left", 1, False)
    assert (acoustic.dtype, acoustic.non_finite) == ("float64", {"train": 1, "valid": 1, "test": 1})
    words = [(content[s]["text"] != 0).any(axis=2).sum(axis=1) for s in content]
    assert language.frames == (min(map(min, words)), pytest.approx(np.concatenate(words).mean()), max(map(max, words)))
    assert found.verdict == "none of the 5 published files whose hash is known"


def test_constant_unaligned_and_known(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    content = make_content(aligned=False)
    for split in content.values():
        split["vision"] *= 0
    path = write(content)
    found = inspect_file(path)
    assert not found.aligned
    assert found.modalities["vision"].constant
    assert found.modalities["acoustic"].padding == "right"
    monkeypatch.setattr(
        "dhmd.data.tools.inspection.identify", lambda sha256: published_files()["mosi_unaligned"] if sha256 == found.sha256 else None
    )
    assert inspect_file(path).verdict == "mosi_unaligned: the published MOSI/Processed/unaligned_50.pkl of CMU-MOSI"


def test_a_store_is_described_as_what_it_was_made_from(write: Write) -> None:
    path = write(make_sims())
    before, after = inspect_file(path), inspect_file(open_or_convert(path))
    assert after.kind == "store"
    for same in ("layout", "sha256", "samples", "videos", "labels", "classes", "tokens", "modalities", "notes", "aligned"):
        assert getattr(before, same) == getattr(after, same)


def test_inspection_writes_nothing(write: Write, tmp_path: Path) -> None:
    path = write(make_mult())
    inspect_file(path)
    write_folder(tmp_path / "own")
    assert inspect_file(tmp_path / "own").kind == "folder"
    assert not list(tmp_path.rglob("*.h5"))


def test_inspection_in_words_and_in_json(write: Write, capsys: Any) -> None:
    path = write(make_mult(ids=False))
    run("inspect", path)
    said = capsys.readouterr().out
    for part in (str(path), "pickle", "mult", "none of the 5 published", "train 8, valid 4, test 4", "aligned", "regression, from -",
                 "no texts, no token ids", "float64", "left", "1 in train", "note: the file has no ids"):  # fmt: skip
        assert part in said
    run("inspect", path, "--json", "--modality", "language=text", "--layout", "mult")
    said = json.loads(capsys.readouterr().out)
    assert list(said["modalities"]) == ["language"]
    assert said["samples"] == {"train": 8, "valid": 4, "test": 4}
    with pytest.raises(UsageError, match="expected NAME=KEY"):
        run("inspect", path, "--modality", "text")


def test_convert(write: Write, tmp_path: Path, capsys: Any) -> None:
    path = write(make_content())
    run("convert", path)
    assert str(path.with_name("features.pkl.dhmd.h5")) in capsys.readouterr().out
    output = tmp_path / "elsewhere" / "mine.h5"
    run("convert", path, "-o", output)
    assert str(output) in capsys.readouterr().out
    Store(output).verify()
    run("convert", path, "-o", output)  # up to date
    with pytest.raises(UsageError, match="nothing to convert"):
        run("convert", output)
    with pytest.raises(DataError, match="a file that is no store"):
        run("convert", path, "-o", path)
    pickle.loads(path.read_bytes())  # noqa: S301  # is what it was
    with pytest.raises(DataError, match="a folder"):
        run("convert", path, "-o", tmp_path)
    run("convert", write_and_name(tmp_path), "-o", tmp_path / "own.h5")
    assert Store(tmp_path / "own.h5").layout == "folder"


def write_and_name(tmp_path: Path) -> Path:
    write_folder(tmp_path / "own")
    return tmp_path / "own"


def test_verify(write: Write, tmp_path: Path, capsys: Any) -> None:
    path = write(make_content())
    store = open_or_convert(path)
    run("verify", store)
    said = capsys.readouterr().out
    assert "whole" in said
    assert f"{path}: the same as when the store was made" in said
    moved = tmp_path / "moved.h5"
    moved.write_bytes(store.read_bytes())
    run("verify", moved)
    assert "features.pkl is not beside it" in capsys.readouterr().out
    run("verify", moved, "--source", path)
    assert "the same" in capsys.readouterr().out
    content = make_content()
    content["test"]["audio"][-1, -1, 0] += 1
    write(content)
    with pytest.raises(DataError, match=r"not those of which features\.pkl\.dhmd\.h5 was made(.|\n)*dhmd data convert"):
        run("verify", store)
    with pytest.raises(DataError, match="no such file"):
        run("verify", tmp_path / "none.h5")


def test_verify_a_folder_and_a_generated_store(tmp_path: Path, capsys: Any) -> None:
    own = write_and_name(tmp_path)
    store = open_or_convert(own)
    assert verify_store(store).source == own
    (own / "vision.npy").write_bytes((own / "vision.npy").read_bytes()[:-4] + b"abcd")
    with pytest.raises(DataError, match="not those of which"):
        verify_store(store)
    run("synth", "-o", tmp_path / "s.h5", "n_train=8", "n_valid=8", "n_test=8")
    run("verify", tmp_path / "s.h5")
    assert "was generated" in capsys.readouterr().out


def test_verify_notices_features_and_ids_of_different_number(write: Write) -> None:
    store = open_or_convert(write(make_content()))
    with h5py.File(store, "a") as file:
        del file["valid/id"]
        file.copy("test/id", "valid/id")
    with pytest.raises(DataError, match="4 samples in valid/id and 3 in valid/features/language"):
        verify_store(store)


SMALL = {"n_train": 40, "n_valid": 9, "n_test": 17, "length": 12}


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ending", ["pkl", "h5"])
def test_synth_writes_what_the_generator_gives_block_by_block(
    aligned: bool, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "BLOCK", 16)  # several blocks
    options = {**SMALL, "aligned": aligned, "seed": 3}
    path = tmp_path / f"corpus.{ending}"
    synthesise(path, "demo", options)
    expected = generate(SyntheticOptions.of(options)).content
    if ending == "pkl":
        found = pickle.loads(path.read_bytes())  # noqa: S301  # any reader of pickles must agree
        assert set(found) == set(expected)
        for split in ("train", "valid", "test"):
            assert set(found[split]) == set(expected[split])
            for key, value in expected[split].items():
                np.testing.assert_array_equal(found[split][key], value)
                assert type(found[split][key]) is type(value)
    store = Store(open_or_convert(path))
    store.verify()
    assert store.synthetic
    assert store.size("train") == 40
    for split in ("train", "valid", "test"):
        np.testing.assert_array_equal(store.features(split)["acoustic"], expected[split]["audio"])
        np.testing.assert_array_equal(store.labels(split), expected[split]["regression_labels"])
        np.testing.assert_array_equal(store.tokens(split), expected[split]["text_bert"])
        assert store.ids(split) == expected[split]["id"]
    assert len({i.split("$_$")[0] for i in store.ids("train")}) == 5  # eight clips a video, across blocks too


def test_a_corpus_of_one_block_is_the_demo_itself(tmp_path: Path) -> None:
    synthesise(tmp_path / "a.h5", "demo", SMALL)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["train/features/vision"][:], generate(SyntheticOptions.of(SMALL)).content["train"]["vision"])


def test_sizes_of_mosei(tmp_path: Path) -> None:
    used = synthesise(tmp_path / "m.h5", "mosei", {"n_train": 9, "n_valid": 8, "n_test": 8, "aligned": False})
    assert used.sizes == {"train": 9, "valid": 8, "test": 8}
    found = inspect_file(tmp_path / "m.h5")
    assert {m: (x.length, x.width) for m, x in found.modalities.items()} == {
        "language": (50, 768),
        "vision": (500, 35),
        "acoustic": (500, 74),
    }
    assert found.verdict == "generated, not a published file"
    assert SyntheticOptions.of(SIZES["mosei"]).sizes == {"train": 16326, "valid": 1871, "test": 4659}


def test_synth_refuses(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'n_trian'"):
        run("synth", "-o", tmp_path / "a.pkl", "n_trian=3")
    with pytest.raises(UsageError, match=r"ending '\.csv'"):
        run("synth", "-o", tmp_path / "a.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        run("synth", "-o", tmp_path / "file" / "a.pkl", "n_train=8")


class Terminal:
    def __init__(self) -> None:
        self.said = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.said += text
        return len(text)

    def flush(self) -> None:
        pass


def test_a_bar_shows_on_a_terminal_after_a_while_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(progress_room, "PATIENCE", 0.0)
    with progress("reading", 10) as advance:
        assert advance is silent
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("reading slowly", 10) as advance:
        advance(10)
        import time

        time.sleep(0.2)
    assert "reading slowly" in terminal.said
    terminal.said = ""
    monkeypatch.setattr(progress_room, "PATIENCE", 60.0)
    with progress("quick", 10) as advance:
        advance(10)
    assert "quick" not in terminal.said


def test_reading_reports_every_byte(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(progress_room.Reading, "__init__", lambda self, file, _: self.__dict__.update(_file=file, _advance=seen.append))
    path = write(make_content())
    open_or_convert(path)
    assert sum(seen) == os.path.getsize(path)
