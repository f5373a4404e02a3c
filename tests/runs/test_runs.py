"""Reading run folders: whole ones completely, others with a message that says what is wrong."""

import hashlib
import json

import h5py
import numpy as np
import pytest

from dhmd.batch import MODALITIES
from dhmd.errors import RunError
from dhmd.runs.folder import RunFolder
from dhmd.runs.reader import find_runs, read_run, read_runs
from fabricated import PAIRS, make_run


def test_a_whole_run(tmp_path):
    folder = make_run(tmp_path / "a", seed=3)
    run = read_run(folder)
    assert run.name == "a"
    assert run.config["seed"] == run.metrics["seed"] == 3
    assert run.description["samples"]["test"] == 120
    assert run.test == json.loads((folder / "metrics.json").read_text())["test"]
    assert run.metrics_sha256 == hashlib.sha256((folder / "metrics.json").read_bytes()).hexdigest()
    assert run.history()["train/total"].shape == (12,)
    predictions = run.predictions()
    assert predictions["id"] == list(run.record().ids)
    assert np.allclose(np.array(predictions["prediction"], float), run.record().prediction[:, 0])


def test_the_record_in_the_papers_order(tmp_path):
    record = read_run(make_run(tmp_path / "a")).record()
    for group in (record.activations, record.embeddings):
        assert list(group) == ["homogeneous", "heterogeneous"]
        assert all(list(inner) == list(MODALITIES) for inner in group.values())
    edges = record.edges["heterogeneous"]
    assert [f"{teacher}->{student}" for teacher, student in edges.pairs] == PAIRS
    assert edges.prior.shape == (6,)
    assert edges.validation.shape == (12, 6)
    assert edges.weights.shape == (120, 6)
    assert record.label.shape == (120,)
    assert record.prediction.shape == (120, 1)


def test_absent_stages_are_absent(tmp_path):
    record = read_run(make_run(tmp_path / "a", stages=())).record()
    assert (record.edges, record.activations, record.embeddings) == ({}, {}, {})


def test_fixed_edges_have_a_prior_alone(tmp_path):
    folder = make_run(tmp_path / "a")
    with h5py.File(folder / "record.h5", "a") as file:
        del file["edges/homogeneous/validation"], file["edges/homogeneous/test"]
    edges = read_run(folder).record().edges["homogeneous"]
    assert edges.validation is edges.weights is None
    assert edges.prior is not None


def test_an_empty_cell_is_nan(tmp_path):
    folder = make_run(tmp_path / "a")
    (folder / "history.csv").write_text("epoch,train/total\n0,\n1,0.5\n")
    assert np.isnan(read_run(folder).history()["train/total"]).tolist() == [True, False]


def test_a_term_that_begins_in_a_later_epoch_has_empty_cells_before(tmp_path):
    folder = make_run(tmp_path / "a")
    RunFolder(folder).write_history([{"epoch": 0.0, "train/total": 0.5}, {"epoch": 1.0, "train/total": 0.25, "train/late": 2.0}])
    assert (folder / "history.csv").read_text() == "epoch,train/total,train/late\n0,0.5,\n1,0.25,2.0\n"
    assert np.isnan(read_run(folder).history()["train/late"]).tolist() == [True, False]


def edit_metrics(folder, **changes):
    path = folder / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "DONE").unlink(), "not finished"),
        (lambda f: (f / "metrics.json").unlink(), "metrics.json: missing"),
        (lambda f: (f / "data.json").unlink(), "data.json: missing"),
        (lambda f: (f / "config.yaml").unlink(), "config.yaml: missing"),
        (lambda f: (f / "metrics.json").write_text('{"schema": 1,'), "metrics.json: not JSON"),
        (lambda f: (f / "metrics.json").write_text("[]"), "found a list"),
        (lambda f: (f / "config.yaml").write_text("a: [1,\nb: }"), "config.yaml: not a resolved configuration"),
        (lambda f: (f / "config.yaml").write_text("a: ${nowhere}"), "config.yaml: not a resolved configuration"),
        (lambda f: edit_metrics(f, schema=2), "schema: found 2, expected 1"),
        (lambda f: edit_metrics(f, seed="one"), "seed: found 'one', expected int"),
        (lambda f: edit_metrics(f, test={"acc7": None}), r"test\.acc7: found None"),
        (lambda f: edit_metrics(f, test={"corr": float("nan")}), r"test\.corr: found nan"),
        (lambda f: [p.unlink() for p in f.iterdir()], "no run folder"),
    ],
)
def test_a_damaged_run_is_refused(tmp_path, damage, told):
    folder = make_run(tmp_path / "a")
    damage(folder)
    with pytest.raises(RunError, match=told) as caught:
        read_run(folder)
    assert str(folder) in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such run folder"):
        read_run(tmp_path / "nowhere")


def _fewer_labels(folder):
    with h5py.File(folder / "record.h5", "a") as file:
        del file["test/label"]
        file["test/label"] = np.zeros(3)


def _no_test(folder):
    with h5py.File(folder / "record.h5", "a") as file:
        del file["test/prediction"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "record.h5").unlink(), "record.h5: missing"),
        (lambda f: (f / "record.h5").write_bytes(b"garbage"), "record.h5: damaged"),
        (lambda f: (f / "record.h5").write_bytes((f / "record.h5").read_bytes()[:2000]), "record.h5: damaged"),
        (_no_test, "record.h5: damaged"),
        (_fewer_labels, r"'test/label': 3.*expected 120"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, damage, told):
    folder = make_run(tmp_path / "a")
    damage(folder)
    with pytest.raises(RunError, match=told):
        read_run(folder).record()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "missing"),
        ("", "damaged or empty"),
        ("epoch,lr\n0\n", "line 2: found 1 cells, expected 2"),
        ("epoch\nzero\n", "column epoch"),
    ],
)
def test_a_damaged_history_is_refused(tmp_path, text, told):
    folder = make_run(tmp_path / "a")
    (folder / "history.csv").unlink()
    if text is not None:
        (folder / "history.csv").write_text(text)
    with pytest.raises(RunError, match=told):
        read_run(folder).history()


def test_runs_are_found_at_any_depth_and_the_unreadable_are_named(tmp_path):
    make_run(tmp_path / "sweep/b/seed1", seed=1)
    make_run(tmp_path / "sweep/a", seed=2)
    make_run(tmp_path / "sweep/b/seed2", seed=2, done=False)
    (tmp_path / "sweep/a/checkpoints").mkdir()
    runs, failed = read_runs([tmp_path / "sweep", tmp_path / "sweep/a"])  # the same run twice is one run
    assert [run.path for run in runs] == [tmp_path / "sweep/a", tmp_path / "sweep/b/seed1"]
    assert list(failed) == [tmp_path / "sweep/b/seed2"]
    assert "not finished" in failed[tmp_path / "sweep/b/seed2"]


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(RunError, match="no run in it"):
        find_runs([tmp_path])
    with pytest.raises(RunError, match="no such folder"):
        find_runs([tmp_path / "nowhere"])
