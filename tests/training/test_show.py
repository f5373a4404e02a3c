"""`dhmd show`: the facts and numbers of a run."""

import io
import json

import pytest
from rich.console import Console

from dhmd.training.show import print_run
from fabricated import make_run


def shown(folder):
    console = Console(file=io.StringIO(), width=200)
    print_run(folder, console)
    return console.file.getvalue()


def test_the_ablation_the_data_and_its_sizes_are_said(tmp_path):
    folder = make_run(tmp_path / "a", n=20, epochs=4, ablation="no_gd", stages=())
    description = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps({**description, "path": "/data/features.pkl"}))
    text = shown(folder)
    assert "dhmd (ablation no_gd) on demo (synthetic data), seed 1" in " ".join(text.split())
    lines = {line.split("  ")[0]: line for line in text.splitlines() if "  " in line}
    assert lines["ablation"].split()[-1] == "no_gd"
    assert "demo (synthetic data), /data/features.pkl" in lines["data"]
    assert "80 train, 10 valid, 20 test" in lines["samples"]
    assert "(ablation" not in shown(make_run(tmp_path / "b", n=20, epochs=4, stages=()))


@pytest.mark.parametrize(("task", "said"), [("regression", True), ("binary", False), ("multiclass", False)])
def test_only_regression_has_a_convention(tmp_path, task, said):
    text = shown(make_run(tmp_path / "a", n=20, epochs=4, task=task, stages=()))
    assert ("mosi convention; accuracies and F1 in percent" in text) == said
    assert "accuracies and F1 in percent" in text
