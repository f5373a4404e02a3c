"""The experiments on SIMS, UR-FUNNY and MUStARD learn from a batch of files of exactly their layout."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from layout_files import make_multibench, make_sims, write_mustard

from dhmd.app import compose
from dhmd.config import instantiate, to_plain
from dhmd.training.build import build_data, build_module
from dhmd.training.train import train

SOURCE = Path(os.environ.get("DHMD_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data" / "mustard_text_labels.npz"
needs_mustard = pytest.mark.skipif(
    not SOURCE.is_file(), reason="MUStARD's texts and labels are not here (environment variable DHMD_SHARED)"
)

RUNS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    # name: (what the file holds, overrides); the published text encoders are not at hand in tests
    "SIMS": (make_sims, ["experiment=sims", "text_encoder=features", "data.expects=null"]),
    "SIMS aligned": (lambda: make_sims(aligned=True), ["experiment=sims", "data=sims_aligned", "text_encoder=features"]),
    "SIMS v2": (lambda: make_sims(v2=True), ["experiment=sims", "data=sims_v2", "text_encoder=features"]),
    "UR-FUNNY": (lambda: make_multibench("humor"), ["experiment=ur_funny"]),
    "MUStARD": (lambda: make_multibench("sarcasm"), ["experiment=mustard"]),
}


def learns(config: dict[str, Any]) -> tuple[Any, Any]:
    encoder = instantiate(config["text_encoder"], "text_encoder")
    data = build_data(config, encoder, batch_size=4)
    module = build_module(config, encoder, data.spec)
    batch = next(iter(data.train_dataloader()))
    loss = module.objective(module(batch), batch)["total"]
    loss.backward()
    assert math.isfinite(loss.item())
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in grads)
    assert any((g != 0).any() for g in grads)
    return data, module


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_learns_from_a_batch(name: str, write: Callable[..., Path]) -> None:
    make, overrides = RUNS[name]
    config = to_plain(compose([*overrides, f"data.path={write(make())}", "model.layers=1", "run_dir=unused"]))
    data, _ = learns(config)
    if name.startswith("SIMS"):
        assert (config["convention"], config["data"]["label_range"], data.spec.task) == ("sims", [-1, 1], "regression")
        assert data.spec.aligned == (name == "SIMS aligned")
    else:
        assert (data.spec.task, data.spec.out_dim) == ("binary", 1)
        assert data.spec.dims == {"language": 300, "vision": 371, "acoustic": 81}


@needs_mustard
def test_real_texts_of_mustard(tmp_path: Path) -> None:
    """Its speaker-independent split: tested on Friends, and no speaker of Friends is in train."""
    assert write_mustard(SOURCE, tmp_path / "mustard") == 690
    overrides = [f"data.path={tmp_path / 'mustard'}", "run_dir=unused", "text_encoder.max_tokens=16"]
    data, _ = learns(to_plain(compose(["experiment=mustard_text", *overrides])))
    samples = data.description()["samples"]
    assert samples["test"] == 356
    assert samples["train"] + samples["valid"] == 334
    assert 0.05 < samples["valid"] / 334 < 0.15
    assert set(data.store.groups("test")["show"]) == {"FRIENDS"}
    assert not {"CHANDLER", "JOEY", "RACHEL"} & set(data.store.groups("train")["speaker"] + data.store.groups("valid")["speaker"])
    assert data.labels("test").sum() == 152  # sarcastic lines of Friends
    by_speaker = to_plain(
        compose(["experiment=mustard_text", *overrides, "data.test_groups=null", "data.folds=5", "data.group_by=speaker"])
    )
    folds, _ = learns(by_speaker)
    speakers = {s: set(folds.store.groups(s)["speaker"]) for s in ("train", "valid", "test")}
    assert not speakers["train"] & speakers["test"]
    assert not speakers["valid"] & speakers["test"]


@needs_mustard
@pytest.mark.slow
def test_the_text_experiment_on_mustard_leaves_a_record(tmp_path: Path) -> None:
    write_mustard(SOURCE, tmp_path / "mustard")
    limits = ["trainer.max_epochs=1", "text_encoder.max_tokens=16", "logger=none", "++trainer.limit_train_batches=4"]
    torch.set_num_threads(1)
    result = train(compose(["experiment=mustard_text", f"data.path={tmp_path / 'mustard'}", f"run_dir={tmp_path / 'run'}", *limits]))
    assert result.metrics["task"] == "binary"
    assert 0 <= result.metrics["test"]["accuracy"] <= 1
    assert len((tmp_path / "run" / "predictions.csv").read_text(encoding="utf-8").splitlines()) > 356
