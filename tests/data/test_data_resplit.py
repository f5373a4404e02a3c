"""Cross-validation by video and groups kept for the test: a partition, fixed, with statistics of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_files import make_content
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_files import write_folder

from dhmd.data.module import FeatureDataModule
from dhmd.data.store.resplit import Resplit
from dhmd.errors import DataError, UsageError

SPLITS = ("train", "valid", "test")


def ready(path: Path, **options: Any) -> FeatureDataModule:
    module = FeatureDataModule(path=path, **{"non_finite": "zero", **options})
    module.setup()
    return module


@given(st.lists(st.integers(0, 30), min_size=3, max_size=80), st.integers(3, 8))
@settings(max_examples=100, deadline=None)
def test_folds_are_a_partition_that_tears_no_group_apart(groups: list[int], folds: int) -> None:
    names = [f"v{g}" for g in groups]
    ids = [f"{g}{i}" for i, g in enumerate(names)]
    if len(set(names)) < folds:
        with pytest.raises(UsageError, match="choose at most"):
            Resplit(folds, 0).rows(names, ids)
        return
    tested: list[int] = []
    for fold in range(folds):
        rows = Resplit(folds, fold).rows(names, ids)
        assert sorted(np.concatenate(list(rows.values()))) == list(range(len(names)))
        of = [{names[r] for r in rows[s]} for s in SPLITS]
        assert sum(map(len, of)) == len(set(names))
        np.testing.assert_array_equal(rows["valid"], Resplit(folds, (fold + 1) % folds).rows(names, ids)["test"])
        tested += rows["test"].tolist()
    assert sorted(tested) == list(range(len(names)))


def test_folds_of_equal_videos_are_of_equal_size() -> None:
    names = [f"v{i // 4}" for i in range(80)]
    assert [len(Resplit(5, f).rows(names, names)["test"]) for f in range(5)] == [16] * 5


@pytest.mark.parametrize("in_memory", [False, True])
def test_batches_of_a_fold_are_the_samples_of_the_file(in_memory: bool, write: Callable[..., Path]) -> None:
    content = make_content(aligned=False)
    path = write(content)
    whole = ready(path)
    by_id = {i: whole.dataset(s)[r] for s in SPLITS for r, i in enumerate(whole.ids(s))}
    module = ready(path, folds=3, fold=1, in_memory=in_memory)
    assert sum(module.description()["samples"].values()) == len(by_id) == 14
    for split in SPLITS:
        for batch in module.eval_dataloader(split):
            for i, row in enumerate(batch.index.tolist()):
                one = by_id[module.ids(split)[row]]
                assert batch.label[i] == one.label[0]
                assert (batch.tokens[i] == one.tokens[0]).all()
                for m in batch.modalities:
                    assert (batch.features[m][i] == one.features[m][0]).all()
                    assert (batch.masks[m][i] == one.masks[m][0]).all()
    videos = {s: {i.split("$_$")[0] for i in module.ids(s)} for s in SPLITS}
    assert not videos["train"] & videos["test"]
    assert module.description()["splits"] == "test on fold 1 of 3 by video"
    assert whole.description()["splits"] == "as in the file"


def test_the_scaling_of_a_fold_is_that_of_its_own_train_split(write: Callable[..., Path]) -> None:
    path = write(make_content())
    raw, scaled = (ready(path, folds=3, standardise=s) for s in (False, True))
    batch, other = (m.dataset("train").__getitems__(range(len(m.ids("train")))) for m in (raw, scaled))
    for modality in batch.modalities:
        if modality != "acoustic":  # which has holes
            frames = batch.features[modality][batch.masks[modality]].double()
            expected = (frames - frames.mean(0)) / frames.std(0, unbiased=False)
            np.testing.assert_allclose(other.features[modality][other.masks[modality]], expected, atol=1e-4)
    counted = raw.description()["non_finite"]["values"]
    assert sum(counted[s]["acoustic"] for s in SPLITS) == 3


def test_a_fold_reads_with_workers_too(write: Callable[..., Path]) -> None:
    path = write(make_content())
    one, two = (list(ready(path, folds=3, num_workers=w, batch_size=4).train_dataloader()) for w in (0, 2))
    assert all((a.features["vision"] == b.features["vision"]).all() for a, b in zip(one, two, strict=True))


def test_groups_kept_for_the_test(tmp_path: Path) -> None:
    shows = ["FRIENDS", "BBT", "GOLDENGIRLS", "BBT"] * 4
    write_folder(tmp_path / "own", show=shows)
    own = tmp_path / "own"
    module = ready(own, group_by="show", test_groups=["FRIENDS"])
    assert set(module.store.groups("test")["show"]) == {"FRIENDS"}
    assert "FRIENDS" not in module.store.groups("train")["show"] + module.store.groups("valid")["show"]
    assert sorted(i for s in SPLITS for i in module.ids(s)) == sorted(f"video{i // 2}$_${i % 2}" for i in range(16))
    assert module.ids("valid") == ready(own, group_by="show", test_groups=["FRIENDS"]).ids("valid")
    assert module.description()["splits"] == "test on show FRIENDS"
    with pytest.raises(UsageError, match=r"test_groups: found 'MASH', expected some of BBT, FRIENDS, GOLDENGIRLS \(data.group_by=show\)"):
        ready(own, group_by="show", test_groups=["MASH"])
    with pytest.raises(DataError, match=r"no such groups; there are: show(.|\n)*data\.group_by"):
        ready(own, group_by="speaker", folds=3)
    with pytest.raises(UsageError, match="nothing is left for train"):
        ready(own, group_by="show", test_groups=["FRIENDS", "BBT", "GOLDENGIRLS"])


def test_ids_without_a_video_are_named(write: Callable[..., Path]) -> None:
    content = make_content()
    content["valid"]["id"] = ["a", "b", "c"]
    with pytest.raises(DataError, match=r"valid/id(.|\n)*ids that name no video, such as 'a'(.|\n)*video\$_\$clip"):
        ready(write(content), folds=3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folds": 2}, "at least 3 folds"),
        ({"folds": 3, "fold": 3}, "a fold from 0 to 2"),
        ({"folds": 3, "test_groups": ["a"]}, "found both, expected one of them"),
    ],
)
def test_wrong_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FeatureDataModule(**options)


def test_more_folds_than_videos(write: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match=r"data.folds=13: there are only 8 groups by video; choose at most 8 folds"):
        ready(write(make_content()), folds=13, fold=12)
