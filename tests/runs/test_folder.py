"""Files of a finished run."""

import csv
import json

import h5py
import numpy as np
import pytest
import torch
import yaml

from dhmd.batch import MODALITIES
from dhmd.data.module import FeatureDataModule
from dhmd.data.synthetic.files import write_pickle
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.errors import DhmdError, RunError
from dhmd.evaluation.metrics import regression_metrics
from dhmd.runs.reader import read_run
from dhmd.training.evaluate import evaluate
from dhmd.training.load import load_run
from dhmd.training.train import train

SPACES = ("homogeneous", "heterogeneous")


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_record_is_whole_and_can_be_read(finished):
    names = {p.name for p in finished.iterdir()}
    assert names >= {"config.yaml", "environment.json", "command.txt", "data.json", "metrics.json", "history.csv", "predictions.csv"}
    assert names >= {"record.h5", "checkpoints", "figures", "train.log", "DONE"}
    assert not list(finished.rglob("*.part"))
    run = read_run(finished)
    assert run.record().ids
    assert len(list((finished / "figures").glob("*.png"))) == len(list((finished / "figures").glob("*.svg"))) >= 5


def test_metrics_json(finished):
    found = json.loads((finished / "metrics.json").read_text())
    assert (found["schema"], found["task"], found["convention"], found["seed"]) == (1, "regression", "mosi", 1111)
    assert (found["model"], found["data"], found["synthetic"]) == ("dhmd", "demo", True)
    assert [row["epoch"] for row in found["validation"]] == [0, 1, 2]
    losses = [row["loss"] for row in found["validation"]]
    assert found["selection"] == {"monitor": "validation/loss", "epoch": losses.index(min(losses)), "value": pytest.approx(min(losses))}
    assert found["test"].keys() == found["validation"][0].keys() - {"epoch"}
    assert found["parameters"] == sum(p.numel() for p in load_run(finished).network.parameters())


def test_history_has_a_column_for_every_term_and_metric(finished):
    history = rows(finished / "history.csv")
    assert [row["epoch"] for row in history] == ["0", "1", "2"]
    terms = {name.removeprefix("train/") for name in history[0] if name.startswith("train/")}
    assert terms >= {"total", "task_fused", "reconstruction", "homogeneous_matching", "heterogeneous_regularity"}
    assert {f"validation/{term}" for term in terms} | {"validation/loss", "validation/mae", "lr"} <= history[0].keys()
    assert all(value for row in history for value in row.values())


def test_predictions_give_the_recorded_metrics(finished):
    found = rows(finished / "predictions.csv")
    assert {f"{space}_{m}" for space in SPACES for m in MODALITIES} | {"split", "id", "label", "prediction"} == found[0].keys()
    test = [row for row in found if row["split"] == "test"]
    assert (len(found), len(test)) == (20, 10)
    recorded = json.loads((finished / "metrics.json").read_text())["test"]
    again = regression_metrics([float(r["prediction"]) for r in test], [float(r["label"]) for r in test])
    assert again == pytest.approx({k: v for k, v in recorded.items() if k != "loss"}, abs=1e-6)


def test_arrays_are_a_row_a_sample(finished):
    with h5py.File(finished / "record.h5") as file:
        assert file["test/prediction"].shape == (10, 1)
        for space, width in zip(SPACES, (8, 16), strict=True):
            assert file[f"edges/{space}/pairs"].asstr()[0] == "vision->language"
            assert file[f"edges/{space}/prior"].shape == (6,)
            assert file[f"edges/{space}/validation"].shape == (3, 6)
            np.testing.assert_allclose(file[f"edges/{space}/test"][()].sum(1), 1, rtol=1e-5)
            np.testing.assert_allclose(file[f"edges/{space}/validation"][()].sum(1), 1, rtol=1e-5)
            for m in MODALITIES:
                np.testing.assert_allclose(file[f"activations/{space}/{m}"][()].sum(1), 1, rtol=1e-5)
                assert file[f"embeddings/{space}/{m}"].shape == (10, width)


def test_checkpoints_load_as_weights_only_and_say_what_they_fit(finished):
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(finished / "checkpoints" / name, weights_only=True)
        assert checkpoint["spec"]["dims"] == {"language": 32, "vision": 16, "acoustic": 10}
        assert checkpoint["FeatureDataModule"]["scaling"]["vision"]["mean"].shape == (16,)


def test_the_configuration_is_resolved(finished):
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert "${" not in (finished / "config.yaml").read_text()
    assert config["labels"] == {"model": "dhmd", "data": "demo", "text_encoder": "features", "ablation": None, "experiment": None}
    assert config["data"]["seed"] == config["seed"] == 1111


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluation_gives_the_metrics_of_training(finished, split):
    recorded = json.loads((finished / "metrics.json").read_text())
    expected = recorded["test"]
    if split == "valid":
        expected = dict(recorded["validation"][recorded["selection"]["epoch"]])
        del expected["epoch"]
    found = evaluate(finished, split)
    assert found.metrics == expected
    assert found.synthetic


def test_evaluation_on_another_file_of_the_same_kind(finished, tmp_path):
    path = tmp_path / "same.pkl"
    write_pickle(path, SyntheticOptions(n_train=24, n_valid=10, n_test=10, length=12))
    assert evaluate(finished, data_path=path).metrics == evaluate(finished).metrics
    other = tmp_path / "other.pkl"
    write_pickle(other, SyntheticOptions(n_train=24, n_valid=10, n_test=12, length=12, seed=3))
    found = evaluate(finished, data_path=other)
    assert len(found.predictions.ids) == 12
    assert found.synthetic


def test_evaluation_on_features_of_other_widths_is_refused(finished, tmp_path):
    path = tmp_path / "wide.pkl"
    dims = {"language": 32, "vision": 5, "acoustic": 10}
    write_pickle(path, SyntheticOptions(n_train=24, n_valid=10, n_test=10, length=12, dims=dims))
    with pytest.raises(DhmdError, match="5"):
        evaluate(finished, data_path=path)


def test_the_test_split_is_read_once_and_after_training(tiny, tmp_path, monkeypatch, no_figures):
    reads = []
    original = FeatureDataModule.dataset

    def dataset(self, split):
        reads.append((split, (tmp_path / "checkpoints" / "last.ckpt").exists() and "all epochs"))
        return original(self, split)

    monkeypatch.setattr(FeatureDataModule, "dataset", dataset)
    train(tiny(tmp_path))
    of_test = [when for split, when in reads if split == "test"]
    assert of_test == ["all epochs"]
    assert reads[-1][0] == "test"
    assert [split for split, _ in reads].count("valid") >= 2


def test_the_best_epoch_is_what_is_tested(tiny, tmp_path, no_figures):
    # a rate so high that the loss soon jumps about; two epochs without a gain end the run
    options = [
        "optimisation.lr=0.05",
        "optimisation.accumulation.batches=1",
        "trainer.max_epochs=40",
        "callbacks.early_stopping.patience=2",
    ]
    metrics = train(tiny(tmp_path, *options)).metrics
    epochs = len(metrics["validation"])
    assert metrics["selection"]["epoch"] == epochs - 3
    best, last = (torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert best["epoch"] == metrics["selection"]["epoch"]
    assert last["epoch"] == epochs - 1
    assert evaluate(tmp_path).metrics == metrics["test"]


def test_a_model_without_stages_leaves_their_groups_out(tiny, tmp_path, no_figures):
    train(tiny(tmp_path, model="text_only"))
    with h5py.File(tmp_path / "record.h5") as file:
        assert set(file) == {"test"}
    assert set(rows(tmp_path / "predictions.csv")[0]) == {"split", "id", "label", "prediction"}


@pytest.mark.parametrize("edges", ["fixed", "uniform"])
def test_edges_that_are_not_learned_have_no_history(tiny, tmp_path, no_figures, edges):
    train(tiny(tmp_path, f"model.homogeneous.distillation.edges={edges}", "trainer.max_epochs=1"))
    with h5py.File(tmp_path / "record.h5") as file:
        assert "pairs" in file["edges/homogeneous"]
        assert not {"test", "validation"} & set(file["edges/homogeneous"])
        assert "test" in file["edges/heterogeneous"]


@pytest.mark.parametrize(
    ("task", "columns"), [("binary", ["prediction"]), ("multiclass", ["prediction_0", "prediction_1", "prediction_2"])]
)
def test_other_tasks(tiny, tmp_path, no_figures, task, columns):
    metrics = train(tiny(tmp_path, f"data.task={task}", "trainer.max_epochs=1")).metrics
    assert {"accuracy", "f1_weighted", "f1_macro", "loss"} <= metrics["test"].keys()
    assert [name for name in rows(tmp_path / "predictions.csv")[0] if name.startswith("prediction")] == columns


@pytest.mark.slow
def test_one_batch_can_be_learned_by_heart(tiny, tmp_path, no_figures):
    options = ["debug=overfit", "trainer.max_epochs=60", "optimisation.lr=0.01"]
    quiet = [
        "optimisation.scheduler.patience=60",
        "model.dropout.attention=0",
        "model.dropout.memory=0",
        "model.dropout.embedding=0",
        "model.dropout.text=0",
    ]
    train(tiny(tmp_path, *options, *quiet, "model.dropout.output=0"))
    losses = [float(row["train/task_fused"]) for row in rows(tmp_path / "history.csv")]
    assert min(losses[-5:]) < 0.2 * losses[0]


def test_a_damaged_checkpoint_is_named(finished, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    with pytest.raises(RunError, match=r"best\.ckpt: missing"):
        load_run(tmp_path)
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(b"garbage")
    with pytest.raises(RunError, match="not readable as a checkpoint"):
        load_run(tmp_path)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(RunError, match=r"expected config\.yaml in it, found nothing"):
        load_run(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        load_run(tmp_path / "nowhere")


def test_diverged_training_says_so(tiny, tmp_path, no_figures):
    with pytest.raises(RunError, match=r"validation loss is (nan|inf).*optimisation\.lr"):
        train(tiny(tmp_path, "optimisation.lr=1.0e30", "optimisation.accumulation.clip_value=null", model="dmd"))
    assert not (tmp_path / "DONE").exists()
