"""Every verb on a run of every baseline."""

import csv
import importlib
import json

import h5py
import pytest

from conformance import one_of_each_class
from dhmd.cli import main
from dhmd.training.evaluate import evaluate
from dhmd.training.train import train

SIZES = ["data.synthetic.n_train=48", "data.synthetic.n_valid=16", "data.synthetic.n_test=48", "data.batch_size=8"]


@pytest.fixture(scope="module", params=one_of_each_class("dhmd.baselines"))
def run(request, tiny, tmp_path_factory):
    """A finished run, in a folder of its own that is called as the preset."""
    folder = tmp_path_factory.mktemp("runs") / request.param / "1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", lambda run_dir: [])
        return train(tiny(folder, *SIZES, model=request.param)).run_dir


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def heads_of(run):
    """Columns of predictions.csv."""
    return [name for name in rows_of(run / "predictions.csv")[0] if name not in ("split", "id", "label")]


def spaces_of(run):
    """Spaces whose embeddings the record keeps."""
    with h5py.File(run / "record.h5") as file:
        return list(file["embeddings"])


def test_evaluate_and_show(run, capsys):
    recorded = json.loads((run / "metrics.json").read_text())["test"]
    assert evaluate(run, "test").metrics == pytest.approx(recorded, rel=1e-5)
    for arguments in (["evaluate", str(run)], ["show", str(run)]):
        assert main(arguments) == 0
        assert f"{recorded['mae']:.4f}" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--split", "valid"]) == 0


def test_predict(run, tmp_path):
    store = json.loads((run / "data.json").read_text())["store"]
    assert main(["predict", str(run), store, "--split", "test", "-o", str(tmp_path / "p.csv")]) == 0
    found, recorded = rows_of(tmp_path / "p.csv"), [row for row in rows_of(run / "predictions.csv") if row["split"] == "test"]
    assert [row["id"] for row in found] == [row["id"] for row in recorded]
    for column in heads_of(run):
        assert [float(row[column]) for row in found] == pytest.approx([float(row[column]) for row in recorded], abs=1e-4), column


def test_analyse(run, tmp_path, capsys):
    assert main(["analyse", str(run), "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "homogeneous" not in said
    rows = rows_of(tmp_path / "probes.csv")
    assert {row["space"] for row in rows} == set(spaces_of(run))
    assert {path.stem for path in tmp_path.glob("embeddings_*.png")} == {f"embeddings_{space}" for space in spaces_of(run)}


def test_probe(run, tmp_path, capsys):
    assert main(["probe", str(run.parent), "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"| planted | modality | {' | '.join(spaces_of(run))} |" in said
    assert ("No run has unimodal heads." in said) == (len(heads_of(run)) == 1)
    assert "No run has learned edges." in said
    assert "No run that is shown here has a dictionary." in said
    assert not list(tmp_path.glob("activations.png"))


def test_report_and_results(run, tmp_path, capsys):
    assert main(["report", str(run.parent), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    for space in spaces_of(run):
        assert f"t-SNE, {space} space" in page
    capsys.readouterr()
    assert main(["results", str(run.parent)]) == 0
    assert f"| {run.parent.name} |" in capsys.readouterr().out


@pytest.mark.slow
def test_export(run, tmp_path, capfd):
    pytest.importorskip("onnxscript", reason="needs the extra 'export'")
    for kind in ("torch", "onnx"):
        assert main(["export", str(run), "--format", kind, "-o", str(tmp_path / kind)]) == 0
        printed = capfd.readouterr()
        assert f"outputs {', '.join(heads_of(run))}\n" in printed.out
        assert printed.err == ""
