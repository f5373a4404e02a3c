"""Offline W&B runs, read back from their files: group, config, history, summary, figures, tables, and how they end."""

import importlib
import json

import pytest
import wandb
from matplotlib.figure import Figure
from offline_runs import offline_files, read_offline

from dhmd.runs.arrays import read_record
from dhmd.tracking.identity import LONGEST_NAME, LONGEST_TAG, run_id, shortened, wandb_identity
from dhmd.tracking.logger import QuietWandbLogger
from dhmd.tracking.tables import run_tables
from dhmd.training.train import train

TRAIN = importlib.import_module("dhmd.training.train")


def one_figure(run_dir):
    (run_dir / "figures").mkdir()
    Figure(figsize=(0.3, 0.2)).savefig(run_dir / "figures" / "metrics.png", dpi=100)


@pytest.fixture(scope="module")
def job(tiny, tmp_path_factory):
    """The run folder of a sweep's job, trained with W&B."""
    sweep = tmp_path_factory.mktemp("sweeps") / "gd-0123abcd"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TRAIN, "write_figures", one_figure)
        patch.delenv("WANDB_MODE", raising=False)
        return train(tiny(sweep / "seed-1111", "logger=wandb", "ablation=full")).run_dir


@pytest.fixture(scope="module")
def offline_run(job):
    (file,) = offline_files(job)
    return read_offline(file)


def test_a_job_is_named_by_sweep_folder_and_labels(job, offline_run):
    run = offline_run.run
    assert (run.project, run.run_group, run.display_name) == ("dhmd", "gd-0123abcd", "seed-1111")
    assert list(run.tags) == ["demo", "dhmd", "full"]
    assert run.run_id == (job / "wandb_id").read_text()
    assert offline_run.exit_code == 0


def test_the_configuration_is_there_from_the_beginning(job, offline_run):
    assert offline_run.config["optimisation"]["lr"] == 1e-3
    assert offline_run.config["labels"]["ablation"] == "full"
    assert offline_run.config["model"]["homogeneous"]["dictionary"]["entries"] == 16


def test_the_history_has_the_epochs_under_the_names_of_the_record(job, offline_run):
    recorded = json.loads((job / "metrics.json").read_text())
    for name in ("loss", "mae", "corr", "acc2_non_zero"):
        assert offline_run.column(f"validation/{name}") == pytest.approx([row[name] for row in recorded["validation"]])
    assert len(offline_run.column("train/total")) == len(recorded["validation"])
    assert all("trainer/global_step" in row for row in offline_run.history)


def test_the_summary_is_metrics_json_with_validation_of_the_chosen_epoch(job, offline_run):
    recorded = json.loads((job / "metrics.json").read_text())
    found = offline_run.summary
    assert {f"test/{k}": v for k, v in recorded["test"].items()} == {k: v for k, v in found.items() if k.startswith("test/")}
    assert found["selection/epoch"] == recorded["selection"]["epoch"]
    assert found["synthetic"] is True
    assert found["parameters"] == recorded["parameters"]
    chosen = recorded["validation"][recorded["selection"]["epoch"]]
    assert found["validation/mae"] == pytest.approx(chosen["mae"])


def test_figures_and_tables_are_there(job, offline_run):
    (file,) = offline_files(job)
    assert offline_run.summary["figures/metrics/_type"] == "image-file"
    assert (file.parent / "files" / offline_run.summary["figures/metrics/path"]).is_file()
    for name, rows in run_tables(read_record(job / "record.h5"), "regression").items():
        logged = json.loads((file.parent / "files" / offline_run.summary[f"tables/{name}/path"]).read_text())
        assert logged["columns"] == list(rows[0])
        assert logged["data"] == [list(row.values()) for row in rows]


def test_tables_show_edges_against_the_prior_by_sample_and_the_most_active_entries(job):
    record = read_record(job / "record.h5")
    tables = run_tables(record, "regression")
    edges = record.edges["heterogeneous"]
    name = ("heterogeneous", "all", *edges.pairs[0])
    (first,) = [r for r in tables["edges"] if (r["space"], r["class"], r["teacher"], r["student"]) == name]
    assert first["mean"] == pytest.approx(edges.weights[:, 0].mean())
    assert first["difference"] == pytest.approx(edges.weights[:, 0].mean() - edges.prior[0])
    rows = [r for r in tables["edges_by_sample"] if r["space"] == "heterogeneous"]
    assert [r["id"] for r in rows] == list(record.ids)
    teacher, student = edges.pairs[1]
    assert [r[f"{teacher}->{student}"] for r in rows] == pytest.approx(edges.weights[:, 1])
    assert {r["rank"] for r in tables["top_activations"]} == set(range(1, 11))


def test_a_network_without_edges_has_no_such_tables(finished):
    record = read_record(finished / "record.h5")
    bare = type(record)(record.ids, record.label, record.prediction, {}, {}, {})
    assert run_tables(bare, "regression") == {}


@pytest.mark.usefixtures("no_figures")
def test_an_interrupted_run_is_failed_and_its_continuation_has_the_same_id(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(TRAIN, "_finish", lambda *_: (_ for _ in ()).throw(RuntimeError("the machine went away")))
        with pytest.raises(RuntimeError, match="the machine went away"):
            train(tiny(tmp_path, "logger=wandb", "trainer.max_epochs=1"))
    (first,) = offline_files(tmp_path)
    assert read_offline(first).exit_code == 1
    train(tiny(tmp_path, "logger=wandb", "trainer.max_epochs=2", "resume=true"))
    (second,) = set(offline_files(tmp_path)) - {first}
    before, after = read_offline(first), read_offline(second)
    assert before.run.run_id == after.run.run_id
    assert after.exit_code == 0
    assert (before.column("epoch")[-1], after.column("epoch")[0]) == (0, 1)


def config(**given):
    return {"logger": {"wandb": given}, "labels": {"data": "mosi", "model": "dmd", "ablation": None}}


def test_a_run_by_itself_has_no_group(tmp_path):
    found = wandb_identity(tmp_path, config(group=None))
    assert (found["group"], found["name"], found["tags"]) == (None, tmp_path.name, ["mosi", "dmd"])


def test_what_the_configuration_says_wins(tmp_path):
    found = wandb_identity(tmp_path, config(group="g", name="n", tags=["t"]))
    assert (found["group"], found["name"], found["tags"]) == ("g", "n", ["t"])


def test_names_are_no_longer_than_wandb_takes(tmp_path):
    long = {"logger": {"wandb": {}}, "labels": {"data": "d" * 100, "model": "dmd"}}
    assert len(wandb_identity(tmp_path, long)["tags"][0]) == LONGEST_TAG
    a, b = shortened("x" * 120 + "-00000001"), shortened("x" * 120 + "-00000002")
    assert len(a) == len(b) == LONGEST_NAME
    assert a != b


def test_the_id_of_a_sweep_agent_is_taken_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    (tmp_path / "alone").mkdir()
    assert run_id(tmp_path / "alone") != "agents"
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    assert run_id(tmp_path) == "agents"
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    assert run_id(tmp_path) == "agents"


def test_job_inputs_of_wandb_launch_are_asked_for_where_it_is_imported(monkeypatch, tmp_path):
    from wandb.sdk.launch.inputs.internal import StagedLaunchInputs

    asked = []
    monkeypatch.setattr(StagedLaunchInputs, "apply", lambda self, run: asked.append(run.id))
    logger = QuietWandbLogger(save_dir=tmp_path, mode="offline", id="inputs")
    assert logger.experiment.id == "inputs"
    wandb.finish()
    assert asked == ["inputs"]
