"""Prediction by a run whose text encoder reads tokens: an imported DMD with a small BERT."""

import csv
import pickle

import numpy as np
import pytest
import torch

import dhmd
from authors_checkpoint import INPUTS, save, with_bert
from dhmd.errors import DataError
from dhmd.interop import dmd_from_authors
from dhmd.interop.imported import import_dmd
from dhmd.prediction.file import predict_file

OTHERS = {m: INPUTS[m] for m in ("vision", "acoustic")}
TOKENS = np.stack([np.random.default_rng(0).integers(1, 99, (6, 50)), np.ones((6, 50), int), np.zeros((6, 50), int)], axis=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    weights = with_bert()
    with torch.no_grad():
        expected = dmd_from_authors(weights, 3)(dhmd.FeatureBatch.from_arrays(**INPUTS, tokens=TOKENS)).prediction
    return import_dmd(save(folder, weights), folder / "run", heads=3), expected.numpy()


def test_tokens_take_the_place_of_language_features(run):
    predictor = dhmd.load(run[0])
    assert (predictor.modalities, predictor.needs_tokens) == (("vision", "acoustic"), True)
    np.testing.assert_allclose(predictor.predict(**OTHERS, tokens=TOKENS).prediction, run[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predictor.predict(**INPUTS, tokens=TOKENS).prediction, run[1], rtol=1e-4, atol=1e-5)


def test_files_with_tokens(run, tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"test": {"vision": OTHERS["vision"], "audio": OTHERS["acoustic"], "text_bert": TOKENS}}))
    (tmp_path / "folder").mkdir()
    for name, x in {**OTHERS, "text_bert": TOKENS}.items():
        np.save(tmp_path / "folder" / f"{name}.npy", x)
    for name in ("x.pkl", "folder"):
        predict_file(run[0], tmp_path / name, tmp_path / "out.csv", batch_size=4)
        with (tmp_path / "out.csv").open(newline="") as file:
            found = [float(row["prediction"]) for row in csv.DictReader(file)]
        np.testing.assert_allclose(found, run[1][:, 0], rtol=1e-4, atol=1e-5)


def test_without_tokens_or_a_tokenizer(run, tmp_path, monkeypatch):
    predictor = dhmd.load(run[0])
    with pytest.raises(DataError, match=r"tokens\n  found:      none\n  expected:   \(N, 3, 50\)"):
        predictor.predict(**OTHERS)
    with pytest.raises(DataError, match=r"found:      shape \(6, 3, 40\)"):
        predictor.predict(**OTHERS, tokens=TOKENS[..., :40])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    predictor._trained.text_encoder.source = str(tmp_path)
    with pytest.raises(DataError, match="the texts cannot be tokenized"):
        predictor.predict(**OTHERS, texts=["a"] * 6)


def test_texts_are_tokenized(run, monkeypatch):
    predictor = dhmd.load(run[0])
    monkeypatch.setattr(predictor._trained.text_encoder, "tokenizer", lambda: lambda texts: TOKENS[: len(texts)])
    np.testing.assert_allclose(predictor.predict(**OTHERS, texts=["a"] * 6).prediction, run[1], rtol=1e-4, atol=1e-5)
