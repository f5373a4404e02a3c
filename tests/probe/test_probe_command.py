"""`dhmd probe` on trained runs, tiny ones: what it measures, writes and refuses. What training makes of the numbers is not tested."""

import csv
import importlib
import json
import math

import pytest

from dhmd.cli import main
from dhmd.probe.cli import QUESTIONS, measure_runs
from dhmd.runs.identity import flattened
from dhmd.runs.reader import read_run
from dhmd.training.train import train
from fabricated import make_run


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Two seeds, with and without distillation in the homogeneous space."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", lambda run_dir: [])
        for seed in (1, 2):
            train(tiny(folder / f"full_{seed}", f"seed={seed}"))
            train(tiny(folder / f"no_homo_gd_{seed}", f"seed={seed}", "ablation=no_homo_gd"))
    return folder


@pytest.fixture(scope="module")
def probed(runs, tmp_path_factory):
    """The output folder of the command on all of them."""
    output = tmp_path_factory.mktemp("probe")
    assert main(["probe", str(runs), "-o", str(output)]) == 0
    return output


def test_every_question_has_its_table_and_figure(probed):
    for name in QUESTIONS:
        with (probed / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert all(math.isfinite(float(row["mean"])) for row in rows)
        assert {row["n_seeds"] for row in rows} == {"2"}
        assert "synthetic data" in (probed / f"{name}.svg").read_text() or (probed / f"{name}.png").stat().st_size > 5000
    groups = {row["group"] for row in csv.DictReader((probed / "stages.csv").open())}
    assert groups == {"full", "no_homo_gd"}


def test_recorded_numbers_are_those_of_the_runs(probed, runs):
    record = {entry["run"].split("/")[-1]: entry for entry in json.loads((probed / "probe.json").read_text())["runs"]}
    run = read_run(runs / "full_1")
    found = record["full_1"]
    assert found["metrics_sha256"] == run.metrics_sha256
    assert found["values"]["stages"]["mae"] == pytest.approx(run.test["mae"], abs=1e-6)
    weights = run.record().edges["homogeneous"].weights.mean(axis=0)
    assert list(found["values"]["edges"]["homogeneous"].values()) == pytest.approx(weights.tolist(), abs=1e-6)
    used = (run.record().activations["heterogeneous"]["vision"] > 0).any(axis=0).sum()
    assert found["values"]["entries"]["used"]["heterogeneous"]["vision"] == used
    columns = run.predictions()
    rows = [i for i, split in enumerate(columns["split"]) if split == "test"]
    errors = [abs(float(columns["homogeneous_vision"][i]) - float(columns["label"][i])) for i in rows]
    assert found["values"]["heads"]["homogeneous"]["vision"]["mae"] == pytest.approx(sum(errors) / len(errors), abs=1e-5)
    assert "homogeneous" not in record["no_homo_gd_1"]["values"]["edges"]
    assert "homogeneous" in record["no_homo_gd_1"]["values"]["heads"]


def test_the_same_runs_give_the_same_bytes(probed, runs, tmp_path):
    assert main(["probe", str(runs), "-o", str(tmp_path)]) == 0
    for file in probed.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_record_makes_everything_again(probed, tmp_path, capsys):
    assert main(["probe", "--record", str(probed / "probe.json"), "-o", str(tmp_path)]) == 0
    for file in probed.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name
    assert "(synthetic data)" in capsys.readouterr().out


def test_documents_are_written_and_checked(probed, runs, tmp_path, capsys):
    record, document = tmp_path / "record.json", tmp_path / "findings.md"
    document.write_text("<!-- probe:edges -->\n<!-- /probe:edges -->\n")
    assert main(["probe", str(runs / "full_1"), str(runs / "full_2"), "--record", str(record), "--update", str(document)]) == 0
    assert main(["probe", "--record", str(record), "--check", str(document)]) == 0
    assert main(["probe", str(runs / "full_1"), str(runs / "full_2"), "--record", str(record), "--check", str(document)]) == 0
    assert main(["probe", str(runs), "--record", str(record), "--check", str(document)]) == 1
    assert "in the runs but not in the record" in capsys.readouterr().err


def test_the_control_is_the_network_of_the_first_step(tiny, tmp_path, no_figures):
    """Training that moves nothing leaves what was there before it."""
    still = ["optimisation.lr=0.0", "optimisation.group_lr.dictionaries=0.0", "trainer.max_epochs=1", "seed=5"]
    train(tiny(tmp_path / "still", *still))
    (measured,), _ = measure_runs([tmp_path / "still"])
    controls = {path: value for path, value in measured.values.items() if "/untrained " in path}
    assert len(controls) > 30
    assert {path: measured.values[path.replace("untrained ", "")] for path in controls} == pytest.approx(controls, abs=1e-5)


def test_networks_without_spaces_and_without_decoupling_answer_what_they_can(tiny, tmp_path, no_figures):
    train(tiny(tmp_path / "a/text_only", model="text_only"))
    train(tiny(tmp_path / "a/no_decoupling", "ablation=no_decoupling"))
    assert main(["probe", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == 0
    kinds = {
        entry["run"]: {path.split("/")[0] for path in flattened(entry["values"], "/")}
        | {path.split("/")[1] for path in flattened(entry["values"]["readability"], "/")}
        for entry in json.loads((tmp_path / "out/probe.json").read_text())["runs"]
    }
    assert kinds["a/text_only"] == {"readability", "content", "oracle", "stages", "features"}
    assert "part homogeneous" not in kinds["a/no_decoupling"]
    assert "pooled homogeneous" in kinds["a/no_decoupling"]
    groups = {row["group"] for row in csv.DictReader((tmp_path / "out/stages.csv").open())}
    assert groups == {"text_only full", "dhmd no_decoupling"}


def test_a_run_on_some_modalities(tiny, tmp_path, no_figures):
    train(tiny(tmp_path / "two", "data.modalities=[acoustic,vision]"))
    ((two,), _) = measure_runs([tmp_path / "two"])
    assert two.reliability == {"acoustic": 0.6, "vision": 0.4}
    assert "readability/private/part homogeneous/vision" in two.values
    assert {path.split("/")[2] for path in two.values if path.startswith("heads/")} == {"vision", "acoustic"}
    assert main(["probe", str(tmp_path / "two"), "-o", str(tmp_path / "out")]) == 0


def test_one_run_alone(runs, capsys):
    assert main(["probe", str(runs / "full_1")]) == 0
    assert "one seed a row; so no intervals" in capsys.readouterr().out


def test_what_is_no_run_on_the_corpus_is_refused(runs, tmp_path, capsys):
    other = make_run(
        tmp_path / "other/mosi_1", synthetic=False, n=8, epochs=4, stages=(), config={"data": {"name": "mosi", "path": "m.pkl"}}
    )
    unfinished = make_run(tmp_path / "unfinished/a", n=8, epochs=4, stages=(), done=False)
    (tmp_path / "empty").mkdir()
    for folders, status, told in (
        ([other], 1, "not trained on the embedded corpus"),
        ([runs, other], 1, f"{other}: not trained on the embedded corpus"),
        ([tmp_path / "empty"], 1, "no run in it"),
        ([tmp_path / "nowhere"], 1, "no such folder"),
        ([unfinished], 1, "no finished run"),
        ([], 2, "no run given"),
    ):
        assert main(["probe", *map(str, folders)]) == status
        assert told in capsys.readouterr().err
    assert main(["probe", "--record", str(tmp_path / "none.json")]) == 1
    (tmp_path / "file").touch()
    assert main(["probe", str(runs / "full_1"), "-o", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_unfinished_run_beside_finished_ones_is_named(runs, tmp_path, capsys):
    make_run(tmp_path / "unfinished/a", n=8, epochs=4, stages=(), done=False)
    assert main(["probe", str(runs / "full_1"), str(tmp_path / "unfinished")]) == 0
    assert "Not among them: unfinished/a: " in capsys.readouterr().out
