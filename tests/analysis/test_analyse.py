"""dhmd analyse as a user meets it: on finished runs, on other data and splits, on imported runs, and on what is wrong."""

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from authors_checkpoint import INPUTS, REFERENCE, UNITS, as_saved, save
from dhmd.analyse.content import compute, figures
from dhmd.analyse.inputs import _collected, gather
from dhmd.analyse.write import analyse
from dhmd.batch import MODALITIES
from dhmd.cli import main
from dhmd.data.synthetic.files import write_pickle
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.interop.imported import import_dmd
from dhmd.runs.reader import read_run
from dhmd.training.train import train
from fabricated import ALL_STAGES, make_run

SPACES = ("homogeneous", "heterogeneous")
TABLES = ["edges_samples", "edges_classes", "edges_epochs", "dictionary_usage", "dictionary_overlap", "dictionary_top"]
TABLES += ["dictionary_drift", "probes", "embeddings"]
FIGURES = ["edge_graphs", "edges_samples", *(f"edges_classes_{s}" for s in SPACES), "edges_epochs", *(f"edges_epochs_{s}" for s in SPACES)]
FIGURES += ["dictionary_usage", "dictionary_overlap", *(f"dictionary_top_{s}" for s in SPACES), "dictionary_drift"]
FIGURES += [*(f"dictionary_drift_{s}" for s in SPACES), "probes", *(f"embeddings_{s}" for s in SPACES)]


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take seconds; one test draws them all."""
    monkeypatch.setattr("dhmd.analyse.write.figures", lambda content: iter(()))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """An imported run with its units, and the features it reads."""
    folder = tmp_path_factory.mktemp("imported")
    content = {}
    for split in ("train", "valid", "test"):
        part = {key: INPUTS[m] for key, m in {"text": "language", "audio": "acoustic", "vision": "vision"}.items()}
        content[split] = part | {"id": [f"{split}{i}" for i in range(6)], "regression_labels": REFERENCE["in.label"][:, 0].clip(-3, 3)}
    (folder / "features.pkl").write_bytes(pickle.dumps(content))
    return import_dmd(save(folder, [as_saved(), *UNITS]), folder / "run", heads=3), folder / "features.pkl"


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.slow
def test_everything_is_written_and_named(tmp_path, capsys):
    run = make_run(tmp_path / "run", n=40, epochs=5, stages=ALL_STAGES)
    assert main(["analyse", str(run)]) == 0
    folder = run / "analysis"
    expected = [f"{t}.csv" for t in TABLES] + [f"{f}.{kind}" for f in FIGURES for kind in ("png", "svg")] + ["arrays.h5", "analysis.json"]
    assert names(folder) == sorted(expected)
    said = json.loads((folder / "analysis.json").read_text())
    assert (said["split"], said["source"], said["synthetic"], said["samples"], said["absent"]) == ("test", "record.h5", True, 40, {})
    assert sorted([*said["files"], "analysis.json"]) == sorted(expected)
    out = capsys.readouterr().out
    assert "dhmd on demo (synthetic data), seed 1, test split: 40 samples, from record.h5" in out
    assert "dictionary_drift_homogeneous" in out
    assert str(folder) in out
    assert max(map(len, out.split("tables:")[0].splitlines())) <= 80, "what is printed fits a terminal"
    for figure in folder.glob("*.png"):
        pixels = np.asarray(Image.open(figure).convert("L"))
        assert 0.002 < (pixels < 160).mean() < 0.5, figure


def test_tables_and_arrays_hold_the_record(tmp_path, undrawn):
    run = make_run(tmp_path / "run", n=40, epochs=5, stages=ALL_STAGES)
    folder = analyse(run, tmp_path / "out").folder
    record = read_run(run).record()
    samples = table(folder / "edges_samples.csv")
    weights = np.array([float(row["weight"]) for row in samples if row["space"] == "homogeneous"]).reshape(40, 6)
    np.testing.assert_array_equal(weights, record.edges["homogeneous"].weights)
    classes = [row for row in table(folder / "edges_classes.csv") if row["class"] == "all" and row["space"] == "heterogeneous"]
    np.testing.assert_allclose([float(r["mean"]) for r in classes], record.edges["heterogeneous"].weights.mean(axis=0))
    np.testing.assert_allclose([float(r["prior"]) for r in classes], record.edges["heterogeneous"].prior)
    epochs = table(folder / "edges_epochs.csv")
    there = {str(c) for c, share in zip(record.training.classes, record.training.share, strict=True) if share > 0}
    assert {row["class"] for row in epochs} == {"all"} | there
    assert "-3" not in there, "the fabricated run has nobody there"
    assert {row["epoch"] for row in epochs} == set("01234")
    drift = table(folder / "dictionary_drift.csv")
    assert len(drift) == 2 * 3 * 5
    kept = [float(row["cosine_to_kept"]) for row in drift if row["epoch"] == "2"]
    assert kept == pytest.approx([1.0] * 6), "epoch 2 was kept"
    with h5py.File(folder / "arrays.h5") as file:
        assert file["samples/id"].asstr()[0] == "video0$_$0"
        assert file["samples/video"].asstr()[8] == "video1"
        assert file["edges/homogeneous/pairs"].asstr()[0] == "vision->language"
        np.testing.assert_array_equal(file["edges/homogeneous/samples"], record.edges["homogeneous"].weights)
        np.testing.assert_array_equal(file["embeddings/heterogeneous/vision"], record.embeddings["heterogeneous"]["vision"])
        assert file["activations_by_epoch/homogeneous/vision"].shape == (5, 512)
        assert file["projections/homogeneous/pca"].shape == file["projections/homogeneous/tsne"].shape == (120, 2)
        assert file["projections/homogeneous/explained_variance"].shape == (10,)


def test_it_repeats(tmp_path, undrawn):
    run = make_run(tmp_path / "run", n=40, epochs=4, stages=ALL_STAGES)
    once, again = analyse(run, tmp_path / "a").folder, analyse(run, tmp_path / "b").folder
    assert all((once / f"{t}.csv").read_bytes() == (again / f"{t}.csv").read_bytes() for t in TABLES)


def test_the_record_and_the_network_agree(finished):
    recorded = gather(finished)
    collected = _collected(finished, read_run(finished), None, "test", "cpu")
    assert collected.title == recorded.title
    assert (collected.synthetic, collected.kept, collected.epochs.tolist()) == (True, recorded.kept, recorded.epochs.tolist())
    first, second = compute(recorded), compute(collected)
    assert first.absent == second.absent
    assert first.tables.keys() == second.tables.keys() >= {"edges_samples", "edges_epochs", "dictionary_drift", "embeddings"}
    for name in first.tables:
        assert [list(row.values()) for row in first.tables[name]] == [list(row.values()) for row in second.tables[name]], name


def test_a_finished_run_says_what_ten_samples_are_too_few_for(finished, tmp_path, capsys, undrawn):
    assert main(["analyse", str(finished), "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "absent: probe of the label from homogeneous, language: found 10 samples, expected 20 at least" in out
    assert "absent: probe of the modality from homogeneous, all: found 2 videos, expected 5 at least, one a fold" in out
    assert names(tmp_path / "out") == sorted([*(f"{t}.csv" for t in TABLES if t != "probes"), "arrays.h5", "analysis.json"])
    assert not (finished / "analysis").exists()


def test_the_validation_split_keeps_the_epochs(finished, tmp_path, capsys, undrawn):
    assert main(["analyse", str(finished), "--split", "valid", "-o", str(tmp_path / "valid")]) == 0
    assert "valid split: 10 samples, from the network on demo, valid split" in capsys.readouterr().out
    analyse(finished, tmp_path / "test")
    ids = {split: {row["id"] for row in table(tmp_path / split / "edges_samples.csv")} for split in ("valid", "test")}
    assert len(ids["valid"]) == 10
    assert not ids["valid"] & ids["test"]
    for name in ("edges_epochs.csv", "dictionary_drift.csv"):
        assert (tmp_path / "valid" / name).read_bytes() == (tmp_path / "test" / name).read_bytes(), "they are of validation either way"


def test_other_data_goes_through_the_network(finished, tmp_path, undrawn):
    options = SyntheticOptions(n_train=8, n_valid=8, n_test=16, length=12, seed=5)
    write_pickle(tmp_path / "other.pkl", options)
    found = analyse(finished, tmp_path / "out", tmp_path / "other.pkl").content.analysed
    assert len(found.record.ids) == 16
    assert found.source == "the network on other.pkl, test split"
    assert found.title.startswith("dhmd on other.pkl")
    assert found.record.training is not None


def test_data_that_does_not_fit_is_told(finished, tmp_path, capsys):
    write_pickle(
        tmp_path / "wide.pkl",
        SyntheticOptions(n_train=8, n_valid=8, n_test=8, length=12, dims={"language": 7, "vision": 16, "acoustic": 10}),
    )
    assert main(["analyse", str(finished), "-o", str(tmp_path / "out"), "--data", str(tmp_path / "wide.pkl")]) == 1
    assert "7" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_imported_runs_are_collected_and_say_what_they_lack(imported, tmp_path, capsys, undrawn):
    run, data = imported
    assert main(["analyse", str(run), "-o", str(tmp_path / "out"), "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "dmd_authors on features.pkl, imported, test split: 6 samples" in out
    for space in SPACES:
        assert f"absent: edges by epoch, {space}: the run was imported: nothing was trained here" in out
        assert f"absent: dictionary, {space}: the network has none there" in out
    weights = [float(row["weight"]) for row in table(tmp_path / "out" / "edges_samples.csv") if row["space"] == "homogeneous"]
    np.testing.assert_allclose(np.reshape(weights, (6, 6)).T, REFERENCE["edges_homo"], rtol=1e-4, atol=1e-6)
    assert names(tmp_path / "out") == ["analysis.json", "arrays.h5", "edges_classes.csv", "edges_samples.csv", "embeddings.csv"]


def test_an_imported_run_without_data_asks_for_some(imported, capsys):
    assert main(["analyse", str(imported[0])]) == 2
    assert "give the features that it reads: --data FILE" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_other_tasks(tmp_path, task, undrawn):
    run = make_run(tmp_path / "run", n=48, epochs=4, task=task)
    content = analyse(run).content
    classes = {"all", "0", "1"} if task == "binary" else {"all", "0", "1", "2", "3"}
    assert {row["class"] for row in content.tables["edges_classes"]} == classes
    assert {row["class"] for row in content.tables["dictionary_usage"]} == classes
    assert {row["class_a"] for row in content.tables["dictionary_overlap"]} == classes
    assert {row["score"] for row in content.tables["probes"]} == {"balanced accuracy"}
    assert {row["chance"] for row in content.tables["probes"] if row["target"] == "label"} == {1 / (len(classes) - 1)}


def test_older_records_lack_classes_by_epoch_and_drift(tmp_path, undrawn):
    content = analyse(make_run(tmp_path / "run", n=24, epochs=4)).content
    older = {name for name, reason in content.absent.items() if "older version" in reason}
    assert older == {f"{what}, {space}" for what in ("edges by epoch and class", "drift of the dictionary") for space in SPACES}
    assert {row["class"] for row in content.tables["edges_epochs"]} == {"all"}


def test_edges_that_are_not_learned_are_named(tmp_path):
    run = make_run(tmp_path / "run", n=24, epochs=4, stages=("edges",))
    with h5py.File(run / "record.h5", "a") as file:
        del file["edges/homogeneous/prior"]
        del file["edges/heterogeneous/validation"], file["edges/heterogeneous/test"]
    content = compute(gather(run))
    assert content.absent["edges by sample, class and epoch, heterogeneous"] == "they are fixed or uniform: none were learned"
    assert content.absent["prior of the edges, homogeneous"] == "the unit has none"
    assert {row["space"] for row in content.tables["edges_samples"]} == {"homogeneous"}
    assert [name for name, _ in figures(content)] == ["edge_graphs", "edges_samples", "edges_classes_homogeneous", "edges_epochs"]


def test_absent_stages_are_named(tiny, tmp_path, no_figures, undrawn):
    overrides = ["model.homogeneous.dictionary=null", "model.heterogeneous.distillation=null", "trainer.max_epochs=1"]
    run = train(tiny(tmp_path / "run", *overrides)).run_dir
    content = analyse(run).content
    assert content.absent["dictionary, homogeneous"] == "the network has none there"
    assert content.absent["edges, heterogeneous"] == "the network has no graph distillation unit there"
    assert {row["space"] for row in content.tables["edges_samples"]} == {"homogeneous"}
    assert {row["space"] for row in content.tables["dictionary_drift"]} == {"heterogeneous"}


def test_text_alone_has_no_spaces(tiny, tmp_path, no_figures, capsys):
    run = train(tiny(tmp_path / "run", "trainer.max_epochs=1", model="text_only")).run_dir
    capsys.readouterr()
    assert main(["analyse", str(run)]) == 0
    out = capsys.readouterr().out
    assert all(f"absent: the {space} space: the network has none" in out for space in SPACES)
    assert names(run / "analysis") == ["analysis.json", "arrays.h5"]


def test_the_next_analysis_removes_what_it_does_not_write(tmp_path, undrawn):
    run = make_run(tmp_path / "run", n=16, epochs=4, stages=("edges", "activations"))
    folder = analyse(run).folder
    (folder / "mine.txt").write_text("stays")
    with h5py.File(run / "record.h5", "a") as file:
        del file["activations"]
    analyse(run)
    assert names(folder) == ["analysis.json", "arrays.h5", "edges_classes.csv", "edges_epochs.csv", "edges_samples.csv", "mine.txt"]


def test_a_list_that_names_files_elsewhere_is_not_followed(tmp_path, undrawn):
    run = make_run(tmp_path / "run", n=16, epochs=4, stages=())
    (run / "analysis").mkdir()
    (run / "analysis" / "analysis.json").write_text(json.dumps({"files": ["../DONE", 3, "gone.csv"]}))
    analyse(run)
    assert (run / "DONE").exists()


@pytest.mark.parametrize(
    ("damage", "status", "message"),
    [
        (lambda run: (run / "DONE").unlink(), 1, "the run has not finished"),
        (lambda run: (run / "record.h5").unlink(), 1, "record.h5: missing"),
        (lambda run: [p.unlink() for p in run.iterdir()], 1, "no run folder"),
        (lambda run: (run / "analysis").write_text("a file"), 2, "a file, expected a folder; choose another with -o"),
        (lambda run: (run / "history.csv").unlink(), 1, "history.csv: missing"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, capsys, damage, status, message):
    run = make_run(tmp_path / "run", n=16, epochs=4, stages=())
    damage(run)
    assert main(["analyse", str(run)]) == status
    assert message in capsys.readouterr().err


def test_no_folder_at_all(tmp_path, capsys):
    assert main(["analyse", str(tmp_path / "none")]) == 1
    assert "no such run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["embeddings/homogeneous/vision", "activations/heterogeneous/language", "edges/homogeneous/test", "test/prediction"]
)
def test_nan_is_told_by_name(tmp_path, capsys, name):
    run = make_run(tmp_path / "run", n=16, epochs=4, stages=ALL_STAGES)
    with h5py.File(run / "record.h5", "a") as file:
        file[name][2, 0] = np.nan
    assert main(["analyse", str(run)]) == 1
    err = capsys.readouterr().err
    assert f"{name.removeprefix('test/')}: found 1 NaN or infinite values of" in err
    assert not (run / "analysis").exists()


def test_a_folder_below_a_file_is_told(tmp_path, capsys):
    run = make_run(tmp_path / "run", n=16, epochs=4, stages=())
    (tmp_path / "file").write_text("")
    assert main(["analyse", str(run), "-o", str(tmp_path / "file" / "below")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_page_names_every_column_and_array(tmp_path, undrawn):
    page = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
    parts = [part for block in page.split("\n\n") for part in (block.splitlines() if block.startswith("|") else [block])]
    analysis = analyse(make_run(tmp_path / "run", n=40, epochs=4, stages=ALL_STAGES))
    for name, rows in analysis.content.tables.items():
        said = " ".join(part for part in parts if f"`{name}.csv`" in part)
        assert [column for column in rows[0] if f"`{column}`" not in said] == [], name
    for name in FIGURES:
        assert any(f"`{known}`" in page for known in (name, *(name.replace(space, "<space>") for space in SPACES))), name
    with h5py.File(analysis.folder / "arrays.h5") as file:
        groups = list(file)
    assert [group for group in groups if f"`{group}/" not in page] == []


@pytest.mark.slow
def test_labels_that_are_all_one_are_analysed(tmp_path):
    run = make_run(tmp_path / "run", n=40, epochs=4, stages=ALL_STAGES)
    with h5py.File(run / "record.h5", "a") as file:
        file["test/label"][:] = 0
    content = compute(gather(run))
    assert content.absent["probe of the label from homogeneous, vision"] == "all samples have the same one"
    assert {row["class"] for row in content.tables["edges_classes"]} == {"all", "0"}
    assert {row["class_a"] for row in content.tables["dictionary_overlap"]} == {"all"}
    drawn = {name: figure.canvas.draw() for name, figure in figures(content)}
    assert "dictionary_overlap" not in drawn


def test_a_selected_epoch_that_history_lacks_leaves_the_drift_out(tmp_path):
    found = replace(gather(make_run(tmp_path / "run", n=16, epochs=4, stages=ALL_STAGES)), kept=None)
    content = compute(found)
    assert content.absent["drift of the dictionary, homogeneous"] == "the epoch kept is not in history.csv"
    assert "dictionary_drift" not in content.tables
    assert list(content.tables["edges_epochs"][0]) == ["epoch", "space", "class", "teacher", "student", "mean", "prior"]
    assert set(MODALITIES) == {row["modality"] for row in content.tables["dictionary_usage"]}
