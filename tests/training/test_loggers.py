"""Loggers see the numbers of the record, and W&B never waits for a network."""

import csv
import json

import pytest

from dhmd.training.train import train

pytestmark = pytest.mark.usefixtures("no_figures")


def test_csv_has_the_epochs_and_the_test(tiny, tmp_path):
    train(tiny(tmp_path, "logger=csv"))
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    seen = {key for row in rows for key, value in row.items() if value}
    assert {"train/total", "train/task_fused", "validation/loss", "validation/mae", "lr", "test/mae", "epoch"} <= seen
    recorded = json.loads((tmp_path / "metrics.json").read_text())
    assert [float(row["test/mae"]) for row in rows if row["test/mae"]] == [pytest.approx(recorded["test"]["mae"])]
    losses = [float(row["validation/loss"]) for row in rows if row["validation/loss"]]
    assert losses == pytest.approx([row["loss"] for row in recorded["validation"]])


def test_wandb_is_offline_by_default_knows_the_configuration_and_is_finished(tiny, tmp_path, monkeypatch, capfd):
    wandb = pytest.importorskip("wandb", reason="a dependency of the suite")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    seen = {}
    init = wandb.init

    def remember(**options):
        seen.update(options)
        return init(**options)

    monkeypatch.setattr(wandb, "init", remember)
    train(tiny(tmp_path, "logger=wandb", "trainer.max_epochs=1"))
    assert seen["mode"] == "offline"
    assert seen["id"] == (tmp_path / "wandb_id").read_text()
    assert seen["config"]["optimisation"]["lr"] == 1e-3
    assert (seen["group"], seen["name"], seen["tags"]) == (None, tmp_path.name, ["demo", "dhmd"])
    assert wandb.run is None
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert "anonymous" not in seen, "W&B warns of it"
    said = "".join(capfd.readouterr())
    assert "wandb sync" not in said
    assert "WARNING" not in said


def test_wandb_is_finished_when_training_fails(tiny, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="a dependency of the suite")

    def fail(*arguments, **options):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("dhmd.training.callbacks.RunFolder.write_history", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        train(tiny(tmp_path, "logger=wandb"))
    assert wandb.run is None
    assert not (tmp_path / "DONE").exists()
