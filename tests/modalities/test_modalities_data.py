"""Modalities of a file: choice, names and order."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhmd.app import compose
from dhmd.config import to_plain
from dhmd.data.convert import open_or_convert
from dhmd.data.module import FeatureDataModule
from dhmd.data.sources.checked import SPLITS
from dhmd.data.store.reader import Store
from dhmd.data.synthetic.files import write_pickle, write_synthetic_store
from dhmd.data.synthetic.generator import SyntheticOptions, generate
from dhmd.data.tools.inspection import inspect_file
from dhmd.errors import DataError, UsageError

SIZES = {"n_train": 24, "n_valid": 8, "n_test": 8, "length": 12}
THREE = {"language": 5, "vision": 4, "acoustic": 3}
FOUR = {**THREE, "gesture": 6}
RELIABILITY = {"language": 0.8, "vision": 0.4, "acoustic": 0.6, "gesture": 0.5}


def options(dims: dict[str, int] = FOUR, **more: Any) -> dict[str, Any]:
    return {**SIZES, "dims": dims, "reliability": {m: RELIABILITY.get(m, 0.5) for m in dims}, **more}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DHMD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ready(**arguments: Any) -> FeatureDataModule:
    module = FeatureDataModule(non_finite="zero", standardise=True, **arguments)
    module.prepare_data()
    module.setup()
    return module


@pytest.mark.parametrize("aligned", [True, False])
def test_a_fourth_modality_leaves_the_other_three_as_they_are(aligned: bool) -> None:
    three, four = (generate(SyntheticOptions.of(options(dims, aligned=aligned, private_weight=0.5))) for dims in (THREE, FOUR))
    keys = {"gesture", "gesture_lengths"}
    for split in SPLITS:
        assert set(four.content[split]) - set(three.content[split]) == (keys if not aligned else {"gesture"})
        for key, value in three.content[split].items():
            np.testing.assert_array_equal(value, four.content[split][key])
        np.testing.assert_array_equal(three.truth[split].shared, four.truth[split].shared)


def test_the_fourth_is_planted_like_the_others() -> None:
    made = generate(SyntheticOptions.of(options(n_train=400, aligned=False, lengths={"gesture": 17})))
    truth, x = made.truth["train"], made.content["train"]["gesture"]
    frames = np.array(made.content["train"]["gesture_lengths"])
    assert x.shape == (400, 17, 6)
    np.testing.assert_array_equal((x != 0).any(axis=2), np.arange(17) < frames[:, None])
    assert frames.min() >= 1
    private = {m: p.reshape(-1) for m, p in truth.private.items()}
    assert abs(np.corrcoef(private["gesture"], private["vision"])[0, 1]) < 0.1  # its own private factors
    same = generate(SyntheticOptions.of(options())).content["train"]["gesture"]
    other_seed = generate(SyntheticOptions.of(options(seed=1))).content["train"]["gesture"]
    other_name = generate(SyntheticOptions.of(options({**THREE, "pulse": 6}))).content["train"]["pulse"]
    assert not np.array_equal(same, other_seed)
    assert not np.array_equal(same, other_name)


def test_the_reliability_of_the_fourth_is_what_it_tells() -> None:
    def told(reliability: float) -> float:
        """The share of the label's variance that the clips' mean gestures explain."""
        given = {"dims": {**THREE, "gesture": 12}, "reliability": {**RELIABILITY, "gesture": reliability}, "n_train": 400}
        part = generate(SyntheticOptions.of(options(**given))).content["train"]
        x, label = part["gesture"], part["regression_labels"]
        mean = x.sum(axis=1) / (x != 0).any(axis=2).sum(axis=1, keepdims=True)
        return float(1 - np.linalg.lstsq(np.c_[mean, np.ones(400)], label, rcond=None)[1][0] / (400 * label.var()))

    assert told(0.95) > told(0.5) + 0.1 > told(0.0) + 0.1


def test_the_configuration_of_four_modalities(tmp_path: Path) -> None:
    config = to_plain(compose(["experiment=four_modalities", "data.aligned=false", f"data.cache_dir={tmp_path}", "run_dir=x"]))["data"]
    config["synthetic"] |= {"n_train": 8, "n_valid": 8, "n_test": 8}
    config.pop("_target_")
    module = FeatureDataModule(**config)
    module.setup()
    assert module.name == "demo_four"
    assert dict(module.spec.lengths) == {"language": 20, "vision": 40, "acoustic": 60, "gesture": 30}


@pytest.mark.parametrize("wanted", [["vision", "acoustic"], ["gesture", "language"], {"acoustic": "audio", "gesture": "gesture"}])
@pytest.mark.parametrize("kind", ["generated", "pickle", "store"])
def test_some_modalities_are_chosen_in_any_order(kind: str, wanted: Any, tmp_path: Path) -> None:
    made = SyntheticOptions.of(options())
    if kind == "generated":
        module = ready(synthetic=options(), modalities=wanted)
    else:
        path = tmp_path / ("x.pkl" if kind == "pickle" else "x.h5")
        (write_pickle if kind == "pickle" else write_synthetic_store)(path, made)
        module = ready(path=path, modalities=wanted)
    assert module.spec.modalities == tuple(wanted)
    batch = module.dataset("test")[0]
    assert batch.modalities == tuple(wanted)
    whole = ready(synthetic=options()).dataset("test")[0]
    assert all((batch.features[m] == whole.features[m]).all() for m in wanted)
    assert list(module.description()["modalities"]) == list(wanted)
    folds = ready(synthetic=options(), modalities=wanted, folds=3)
    assert folds.dataset("test")[0].modalities == tuple(wanted)
    assert folds.description()["non_finite"]["values"]["test"].keys() == set(wanted)


def test_an_order_of_its_own_has_a_store_of_its_own(tmp_path: Path) -> None:
    write_pickle(tmp_path / "x.pkl", SyntheticOptions.of(options(THREE)))
    turned = open_or_convert(tmp_path / "x.pkl", keys={"acoustic": "audio", "language": "text", "vision": "vision"})
    assert open_or_convert(tmp_path / "x.pkl") != turned
    assert Store(turned).modalities == ("acoustic", "language", "vision")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("vision", "found 'vision'; expected a list of names"),
        ({"vision": 3}, "found 3; expected a list of names"),
        (["vision", "vision"], "'vision' is there twice"),
        (["vision", "my.pose"], "'my.pose' is no name for a modality"),
        ({"language": "text", "a->b": "vision"}, "'a->b' is no name"),
        ({"language": "text", "values": "vision"}, "'values' is reserved"),
        ({"language": "text", "tokens": "vision"}, "'tokens' is reserved"),
    ],
)
def test_wrong_choices_are_refused(wanted: Any, words: str) -> None:
    with pytest.raises(UsageError, match=f"data.modalities: {words}"):
        FeatureDataModule(synthetic=options(), modalities=wanted)


@pytest.mark.parametrize("wanted", [["vision", "pose"], {"vision": "vision", "gesture": "pose"}])
def test_what_a_store_lacks_is_told(wanted: Any, tmp_path: Path) -> None:
    write_synthetic_store(tmp_path / "x.h5", SyntheticOptions.of(options()))
    for arguments in ({"synthetic": options()}, {"path": tmp_path / "x.h5"}):
        with pytest.raises(DataError, match=r"of the key pose; there are language: text, .*gesture: gesture"):
            ready(**arguments, modalities=wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dims": {"vision": 3}, "reliability": {"vision": 1}}, "dims"),
        ({"dims": {**THREE, "text": 3}, "reliability": {**RELIABILITY, "text": 1}}, "reliability"),
        ({"dims": {"language": 3, "text": 3}, "reliability": {"language": 1, "text": 1}}, "dims: '(text|language)' is taken"),
        ({"dims": {"language": 3, "id": 3}, "reliability": {"language": 1, "id": 1}}, "dims: 'id' is taken"),
        ({"dims": {"language": 3, "a.b": 3}, "reliability": {"language": 1, "a.b": 1}}, "dims: 'a.b' is no name"),
        ({"lengths": {"pose": 3}}, "lengths"),
        ({"lengths": {"language": 3}}, "lengths"),
        ({"dims": {"language": 3, "vision": 3}, "reliability": {"language": 1, "vision": 1}, "private_weight": 1.0}, "private_weight"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_planted_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=f"data.synthetic.{words}"):
        SyntheticOptions.of({**SIZES, **change})


def test_a_folder_whose_file_is_no_name_is_told_how_to_name_it(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    rows = "".join(f"v{i}$_$0,{s},1.0,said\n" for i, s in enumerate(("train", "train", "valid", "test")))
    (folder / "samples.csv").write_text("id,split,label,text\n" + rows, encoding="utf-8")
    for name in ("language", "keys"):
        np.save(folder / f"{name}.npy", np.random.default_rng(0).normal(size=(4, 5, 3)))
    with pytest.raises(
        DataError, match=r"(?s)own: keys.*a modality 'keys', which is reserved.*data.modalities=\{language: language, gesture: keys\}"
    ):
        ready(path=folder)
    assert ready(path=folder, modalities={"language": "language", "gesture": "keys"}).spec.modalities == ("language", "gesture")
    placeholder = ready(path=folder, modalities={"gesture": "keys", "language": "speech"}, tokens_required=True,
                        tokenizer=lambda texts: np.ones((len(texts), 3, 4), np.int64))  # fmt: skip
    assert placeholder.store.text_only  # texts without language features, for a text encoder
    with pytest.raises(DataError, match="texts without language features"):
        ready(path=folder, modalities={"gesture": "keys", "language": "speech"})


def test_inspection_reads_what_is_named(tmp_path: Path) -> None:
    write_pickle(tmp_path / "x.pkl", SyntheticOptions.of(options(aligned=False)))
    found = inspect_file(tmp_path / "x.pkl", {"gesture": "gesture", "speech": "text"})
    assert {m: (x.key, x.length, x.width) for m, x in found.modalities.items()} == {
        "gesture": ("gesture", 24, 6),
        "speech": ("text", 12, 5),
    }
    write_synthetic_store(tmp_path / "x.h5", SyntheticOptions.of(options()))
    assert list(inspect_file(tmp_path / "x.h5", {"gesture": "gesture"}).modalities) == ["gesture"]


def test_arrays_that_nobody_reads_are_mentioned(tmp_path: Path) -> None:
    write_pickle(tmp_path / "x.pkl", SyntheticOptions.of(options()))
    told = "gesture (24, 12, 6) is not read; data.modalities={language: text, vision: vision, acoustic: audio, gesture: gesture} reads it"
    assert [n for n in inspect_file(tmp_path / "x.pkl").notes if "not read" in n] == [told]
    assert told in ready(path=tmp_path / "x.pkl").warnings
    every = {"language": "text", "vision": "vision", "acoustic": "audio", "gesture": "gesture"}
    assert "is not read" not in str(inspect_file(tmp_path / "x.pkl", every).notes)
    assert "is not read" not in str(inspect_file(tmp_path / "x.pkl", {"language": "text", "vision": "vision"}).notes)  # chosen on purpose
    content = generate(SyntheticOptions.of(options())).content
    for part in (content[s] for s in SPLITS):
        part["pooled"] = part["gesture"].mean(axis=1)  # no features by frame
        part["names"] = np.array([["x"]] * len(part["id"]))
    (tmp_path / "y.pkl").write_bytes(pickle.dumps(content))
    assert [n for n in inspect_file(tmp_path / "y.pkl").notes if "not read" in n] == [told]
