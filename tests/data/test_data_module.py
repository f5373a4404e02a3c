"""The data module: batches as promised, from any file and by any way of reading."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from feature_files import SIZES, make_content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhmd.batch import FeatureBatch
from dhmd.data.module import FeatureDataModule
from dhmd.errors import DataError, UsageError

Content = dict[str, Any]
KEYS = {"language": "text", "vision": "vision", "acoustic": "audio"}


def ready(path: Path | None = None, **options: Any) -> FeatureDataModule:
    module = FeatureDataModule(path=path, **{"non_finite": "zero", "batch_size": 3, **options})
    module.prepare_data()
    module.setup()
    return module


def whole(module: FeatureDataModule, split: str) -> FeatureBatch:
    return module.dataset(split).__getitems__(range(len(module.ids(split))))


def equal(a: FeatureBatch, b: FeatureBatch) -> bool:
    return (
        all(torch.equal(a.features[m], b.features[m]) and torch.equal(a.masks[m], b.masks[m]) for m in a.modalities)
        and torch.equal(a.label, b.label)
        and torch.equal(a.index, b.index)
        and (a.tokens is None) == (b.tokens is None)
        and (a.tokens is None or torch.equal(a.tokens, b.tokens))
    )


@pytest.mark.parametrize("aligned", [True, False])
def test_from_pickle_to_batch_nothing_changes(aligned: bool, write: Callable[..., Path]) -> None:
    content = make_content(aligned)
    module = ready(write(content))
    assert module.spec.dims == {"language": 4, "vision": 3, "acoustic": 2}
    assert module.spec.lengths == {"language": 6, "vision": 6 if aligned else 9, "acoustic": 6 if aligned else 12}
    assert (module.spec.aligned, module.spec.task, module.spec.out_dim) == (aligned, "regression", 1)
    for split in SIZES:
        batch = whole(module, split)
        for modality, key in KEYS.items():
            expected = np.where(np.isfinite(content[split][key]), content[split][key], 0)
            np.testing.assert_array_equal(batch.features[modality], expected)
            np.testing.assert_array_equal(batch.masks[modality], (content[split][key] != 0).any(axis=2))
        np.testing.assert_array_equal(batch.label, content[split]["regression_labels"])
        np.testing.assert_array_equal(batch.tokens, content[split]["text_bert"])
        assert module.ids(split) == content[split]["id"]
        assert module.texts(split) == content[split]["raw_text"]
        assert (batch.label.dtype, batch.tokens.dtype, batch.index.dtype) == (torch.float32, torch.int64, torch.int64)


@pytest.mark.parametrize("standardise", [True, False])
def test_memory_maps_memory_and_workers_give_the_same_batches(standardise: bool, write: Callable[..., Path]) -> None:
    path = write(make_content(aligned=False))
    ways = [{}, {"in_memory": True}, {"num_workers": 2}, {"in_memory": True, "num_workers": 2}]
    runs = [[*m.train_dataloader(), *m.val_dataloader()] for m in (ready(path, standardise=standardise, seed=4, **w) for w in ways)]
    for run in runs[1:]:
        assert len(run) == len(runs[0]) == 4
        assert all(equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_a_batch_equals_its_samples_one_by_one(content: Content, write: Callable[..., Path]) -> None:
    data = ready(write(content), standardise=True).dataset("train")
    batch = data.__getitems__([5, 0, 5])
    for i, row in enumerate([5, 0, 5]):
        one = data[row]
        assert len(one) == 1
        assert all(torch.equal(one.features[m][0], batch.features[m][i]) for m in one.modalities)


def test_only_train_is_shuffled_and_nothing_is_dropped(content: Content, write: Callable[..., Path]) -> None:
    module = ready(write(content))
    train = torch.cat([b.index for b in module.train_dataloader()]).tolist()
    assert sorted(train) == list(range(7))
    assert train != list(range(7))
    for loader, split in (
        (module.val_dataloader(), "valid"),
        (module.test_dataloader(), "test"),
        (module.eval_dataloader("train"), "train"),
    ):
        batches = list(loader)
        assert torch.cat([b.index for b in batches]).tolist() == list(range(SIZES[split]))
    assert [len(b) for b in module.test_dataloader()] == [3, 1]
    with pytest.raises(UsageError, match=r"'dev'.*train, valid, test"):
        module.eval_dataloader("dev")


def test_standardised_frames_have_mean_0_deviation_1_and_padding_is_0(write: Callable[..., Path]) -> None:
    content = make_content(aligned=False)
    module = ready(write(content), standardise=True)
    for split in SIZES:
        batch = whole(module, split)
        for modality, key in KEYS.items():
            x, mask = batch.features[modality], batch.masks[modality]
            assert (x[~mask] == 0).all()
            assert x.isfinite().all()
            train = content["train"][key][(content["train"][key] != 0).any(axis=2)].astype(np.float64)
            train[~np.isfinite(train)] = np.nan
            real = content[split][key][mask.numpy()]
            scaled = np.nan_to_num((real - np.nanmean(train, axis=0)) / np.nanstd(train, axis=0), nan=0, neginf=0)
            np.testing.assert_allclose(x[mask], scaled, atol=2e-5)
    assert (whole(module, "train").features["acoustic"][0, 0, 0] == 0).item()  # -inf becomes the mean, not an outlier


@given(seed=st.integers(0, 10**6), aligned=st.booleans(), standardise=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masks_are_contiguous_and_padding_is_exactly_0(seed: int, aligned: bool, standardise: bool, write: Callable[..., Path]) -> None:
    path = write(make_content(aligned, seed), name=f"{seed}{aligned}.pkl")
    module = ready(path, standardise=standardise)
    for split in SIZES:
        batch = whole(module, split)
        for modality in batch.modalities:
            x, mask = batch.features[modality], batch.masks[modality].int()
            assert (x[mask == 0] == 0).all()
            assert (mask.diff(dim=1).abs().sum(dim=1) + mask[:, 0] + mask[:, -1] <= 2).all()
            assert x.isfinite().all()


def test_a_feature_that_does_not_vary_is_centred_only(content: Content, write: Callable[..., Path]) -> None:
    for part in content.values():
        part["vision"][..., 1] = np.where(part["vision"][..., 0] != 0, 7.1, 0)
    content["test"]["vision"][0, -1, 1] = 9.1
    batch = whole(ready(write(content), standardise=True), "test")
    assert batch.features["vision"][0, -1, 1] == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize(("fill", "says"), [(0.0, "vision is constant: all zero"), (5.0, "vision is constant: no feature of it varies")])
def test_a_constant_modality_is_warned_of(fill: float, says: str, content: Content, write: Callable[..., Path], caplog: Any) -> None:
    for part in content.values():
        part["vision"][:] = fill
    with caplog.at_level(logging.WARNING):
        module = ready(write(content), standardise=True)
    assert says in caplog.text
    assert any(says in w for w in module.description()["warnings"])
    batch = whole(module, "train")
    assert (batch.features["vision"] == 0).all()
    assert batch.masks["vision"].any().item() == (fill != 0)


def test_non_finite_values_are_counted_logged_and_zeroed(content: Content, write: Callable[..., Path], caplog: Any) -> None:
    content["valid"]["vision"][1, -1] = [np.nan, np.inf, 1.0]
    with caplog.at_level(logging.WARNING):
        module = ready(write(content))
    assert "vision: 2 NaN or infinite values in 1 frames are set to 0" in caplog.text
    assert "acoustic: 3 NaN or infinite values in 3 frames" in caplog.text
    counted = module.description()["non_finite"]
    assert counted["policy"] == "zero"
    assert counted["values"]["valid"] == {"language": 0, "vision": 2, "acoustic": 1}
    assert counted["frames"]["valid"] == {"language": 0, "vision": 1, "acoustic": 1}
    batch = whole(module, "valid")
    assert batch.features["vision"][1, -1].tolist() == [0, 0, 1]
    assert batch.masks["vision"][1, -1]  # a frame with unknown values is a frame
    with pytest.raises(DataError, match="2 NaN or infinite values in 1 frames of valid/vision"):
        ready(write(content), non_finite="error")


def test_tasks(content: Content, write: Callable[..., Path]) -> None:
    multi = ready(write(content), task="multiclass")
    assert (multi.spec.n_classes, multi.spec.out_dim) == (3, 3)
    assert whole(multi, "train").label.dtype == torch.int64
    np.testing.assert_array_equal(multi.labels("test"), content["test"]["classification_labels"])
    for part in content.values():
        part["classification_labels"] = part["classification_labels"] % 2
        part["regression_labels"] = part["regression_labels"] * 99  # not looked at
    binary = ready(write(content), task="binary")
    assert (binary.spec.n_classes, binary.spec.out_dim) == (1, 1)
    assert whole(binary, "train").label.tolist() == [0, 1, 0, 0, 1, 0, 0]
    assert whole(binary, "train").label.dtype == torch.float32


def test_tokens_come_from_the_file_or_from_the_text(content: Content, write: Callable[..., Path]) -> None:
    def tokenizer(texts: list[str]) -> np.ndarray:
        return np.stack([np.full((3, 5), len(t)) for t in texts])

    assert whole(ready(write(content), tokenizer=tokenizer), "test").tokens[0, 1].tolist() == [1] * 6
    from_text = whole(ready(write(content), tokenizer=tokenizer, tokens="raw_text", tokens_required=True), "test").tokens
    assert from_text.shape == (4, 3, 5)
    assert from_text[0, 0, 0] == len("text 0 of test")
    for part in content.values():
        del part["text_bert"]
    path = write(content, name="without.pkl")
    late = ready(path)
    assert whole(late, "train").tokens is None
    late.use_tokenizer(tokenizer)
    assert torch.equal(whole(late, "test").tokens, from_text)
    assert late.description()["tokens"]
    assert torch.equal(whole(ready(path, tokenizer=tokenizer), "test").tokens, from_text)


def test_a_checkpoint_carries_the_standardisation_to_other_data(content: Content, write: Callable[..., Path], tmp_path: Path) -> None:
    module = ready(write(content), standardise=True)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other = make_content(seed=1)
    path = write(other, name="other.pkl")
    early = FeatureDataModule(path=path, non_finite="zero", standardise=True)
    early.load_state_dict(state)
    early.setup()
    late = ready(path, standardise=True)
    assert not torch.equal(whole(late, "test").features["vision"], whole(early, "test").features["vision"])
    late.load_state_dict(state)
    assert equal(whole(early, "test"), whole(late, "test"))
    raw = ready(path, standardise=True)
    raw.load_state_dict(ready(path).state_dict())
    assert equal(whole(raw, "test"), whole(ready(path), "test"))


def test_a_checkpoint_of_other_features_is_refused(content: Content, write: Callable[..., Path]) -> None:
    state = ready(write(content), standardise=True).state_dict()
    for part in content.values():
        part["audio"] = np.concatenate([part["audio"]] * 2, axis=2)
    module = ready(write(content))
    with pytest.raises(DataError, match=r"do not fit the checkpoint(.|\n)*'acoustic': 4(.|\n)*'acoustic': 2"):
        module.load_state_dict(state)


def test_a_description_is_plain_and_complete(content: Content, write: Callable[..., Path]) -> None:
    path = write(content)
    module = ready(path, name="mine", expects="mosi_aligned", aligned=True)
    said = json.loads(json.dumps(module.description()))
    assert said["name"] == "mine"
    assert said["path"] == str(path)
    assert len(said["source"]["sha256"]) == 64
    assert said["samples"] == SIZES
    assert said["modalities"]["acoustic"] == {"key": "audio", "dim": 2, "length": 6}
    assert said["published_as"] is None
    assert not said["synthetic"]
    assert any("is not the published MOSI/Processed/aligned_50.pkl" in w for w in said["warnings"])


def test_a_changed_file_is_seen_by_the_next_run(content: Content, write: Callable[..., Path]) -> None:
    first = ready(write(content)).description()["source"]["sha256"]
    content["train"]["vision"][0, -1, 0] += 1
    module = ready(write(content))
    assert module.description()["source"]["sha256"] != first
    assert whole(module, "train").features["vision"][0, -1, 0] == content["train"]["vision"][0, -1, 0]


def test_a_store_may_be_given_instead_of_a_pickle(content: Content, write: Callable[..., Path]) -> None:
    from_pickle = ready(write(content))
    from_store = ready(from_pickle.store.path)
    assert all(equal(whole(from_pickle, s), whole(from_store, s)) for s in SIZES)


def test_before_setup_there_is_nothing() -> None:
    with pytest.raises(RuntimeError, match="setup"):
        FeatureDataModule().train_dataloader()
