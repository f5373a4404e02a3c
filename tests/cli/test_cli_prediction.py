"""The verbs predict, export and import-dmd, as typed."""

import csv
import json
import shutil

import numpy as np
import pytest

from authors_checkpoint import INPUTS, REFERENCE, as_saved, save
from dhmd.cli import main


def test_from_a_checkpoint_of_the_authors_to_predictions(tmp_path, capsys):
    checkpoint, run, folder, out = save(tmp_path, as_saved()), tmp_path / "run", tmp_path / "features", tmp_path / "predictions.csv"
    assert main(["import-dmd", str(checkpoint), "-o", str(run), "--heads", "3"]) == 0
    assert capsys.readouterr().out.endswith(f"next: dhmd evaluate {run} --data FILE\n")
    folder.mkdir()
    for m, x in INPUTS.items():
        np.save(folder / f"{m}.npy", x)
    assert main(["predict", str(run), str(folder), "-o", str(out), "--batch-size", "4"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"6 predictions: {out}\n", "")
    with out.open(newline="") as file:
        found = [float(row["prediction"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(found, REFERENCE["out.output_logit"][:, 0], rtol=1e-4, atol=1e-5)


def test_features_of_another_kind_are_a_message_and_status_1(tmp_path, capsys):
    run, folder = tmp_path / "run", tmp_path / "features"
    main(["import-dmd", str(save(tmp_path, as_saved())), "-o", str(run), "--heads", "3"])
    folder.mkdir()
    for m, x in INPUTS.items():
        np.save(folder / f"{m}.npy", x[..., :4])
    assert main(["predict", str(run), str(folder), "-o", str(tmp_path / "p.csv")]) == 1
    assert "trained on: mosi_aligned, frames x features: language 50 x 32, vision 50 x 20, acoustic 50 x 5" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_export_says_what_goes_in_and_out(finished, tmp_path, capsys, monkeypatch):
    import dhmd.interop.export as module

    def as_is(program, about, names):
        return json.dumps(about).encode(), lambda inputs: deployed[0](inputs)

    deployed = []
    monkeypatch.setattr(module, "_trace", lambda predictor, network, inputs: deployed.append(network))
    monkeypatch.setattr(module, "WRITERS", {"torch": as_is})
    assert main(["export", str(finished), "--format", "torch", "-o", str(tmp_path / "net.pt2")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "input   language (batch, 12, 32)"
    assert lines[3].startswith("outputs prediction, homogeneous_language, ")
    assert lines[4].endswith("differs from the run by 0.0e+00 at most on random samples")
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(finished), "--format", "pickle", "-o", "x"])


@pytest.fixture
def unfinished(finished, tmp_path):
    """A run that was stopped after some epochs."""
    run = shutil.copytree(finished, tmp_path / "stopped")
    (run / "DONE").unlink()
    return run


def test_the_test_split_of_an_unfinished_run_is_not_read(unfinished, capsys):
    assert main(["evaluate", str(unfinished)]) == 1
    said = capsys.readouterr().err
    assert "test split is read once" in said
    assert f"dhmd train resume={unfinished}" in said
    assert main(["evaluate", str(unfinished), "--split", "valid"]) == 0
    assert main(["show", str(unfinished)]) == 1
    assert f"dhmd train resume={unfinished}" in capsys.readouterr().err


def test_predictions_of_an_unfinished_run_say_so(unfinished, tmp_path, capsys):
    store = json.loads((unfinished / "data.json").read_text())["store"]
    assert main(["predict", str(unfinished), store, "-o", str(tmp_path / "p.csv")]) == 0
    assert "has not finished training" in capsys.readouterr().err
