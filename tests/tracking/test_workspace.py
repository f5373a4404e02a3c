"""The workspace: built and checked against the library's own model without a network; every panel shows what a run logs."""

import json
import sys

import pytest

from dhmd.errors import RunError, UsageError
from dhmd.tracking import workspace

pytest.importorskip("wandb_workspaces", reason="the extra dashboards, part of dev")


@pytest.fixture(scope="module")
def made():
    return {view.name: view for view in workspace.views("team", "project")}


@pytest.fixture
def answering(monkeypatch):
    """No network: as if W&B's address had answered."""
    monkeypatch.setattr(workspace, "check_server", lambda: None)


def panels(view, kind):
    import wandb_workspaces.reports.v2 as wr

    return [panel for section in view.sections for panel in section.panels if isinstance(panel, getattr(wr, kind))]


def test_a_view_survives_the_way_to_wandb_and_back(made):
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.workspaces import internal

    for view in made.values():
        spec = internal.WorkspaceViewspec.model_validate_json(workspace.specification(view))
        again = ws.Workspace._from_model(
            internal.View(entity="team", project="project", display_name=view.name, name="nw-x-v", id="1", spec=spec)
        )
        assert [(s.name, [type(p).__name__ for p in s.panels]) for s in again.sections] == [
            (s.name, [type(p).__name__ for p in s.panels]) for s in view.sections
        ]
        assert again.runset_settings.groupby == view.runset_settings.groupby


def test_the_ablations_view_groups_runs_by_ablation(made):
    spec = json.loads(workspace.specification(made["dhmd: ablations"]))
    bars = [p["config"] for s in spec["section"]["panelBankConfig"]["sections"] for p in s["panels"] if p["viewType"] == "Bar Chart"]
    assert {b["groupBy"] for b in bars} == {"labels.value.ablation"}
    assert {b["groupAgg"] for b in bars} == {"mean"}
    assert len(bars) == len(workspace.TEST)


def test_every_panel_shows_something_a_run_logs(made, finished):
    """By the names of the run's history.csv, metrics.json, figures and tables, which are what loggers see."""
    from dhmd.runs.arrays import read_record
    from dhmd.tracking.tables import run_tables

    header = (finished / "history.csv").read_text().partition("\n")[0].split(",")
    test = json.loads((finished / "metrics.json").read_text())["test"]
    figures = {f"figures/{png.stem}" for png in (finished / "figures").glob("*.png")}
    for view in made.values():
        assert {metric for panel in panels(view, "LinePlot") for metric in panel.y} <= set(header)
        assert {metric for panel in panels(view, "BarPlot") for metric in panel.metrics} <= {f"test/{name}" for name in test}
        assert {key for panel in panels(view, "MediaBrowser") for key in panel.media_keys} <= figures
    tables = {panel.table_name for panel in panels(made["dhmd: training"], "WeavePanelSummaryTable")}
    assert tables == {f"tables/{name}" for name in run_tables(read_record(finished / "record.h5"), "regression")}


def test_specifications_are_written_without_a_network(tmp_path, capsys):
    assert workspace.main(["--entity", "team", "-o", str(tmp_path / "views")]) == 0
    written = sorted((tmp_path / "views").iterdir())
    assert [file.name for file in written] == ["ablations.json", "training.json"]
    assert sorted(capsys.readouterr().out.split()) == [str(file) for file in written]
    assert json.loads(written[1].read_text())["section"]["panelBankConfig"]["sections"][0]["name"] == "Validation"


@pytest.mark.usefixtures("answering")
def test_what_wandb_refuses_is_told(made, monkeypatch):
    import wandb_workspaces.workspaces as ws

    def refuse(self):
        raise ValueError("permission denied")

    monkeypatch.setattr(ws.Workspace, "save", refuse)
    with pytest.raises(RunError, match=r"dhmd: training.*permission denied.*wandb login"):
        workspace._save(made["dhmd: training"])


@pytest.mark.usefixtures("answering")
def test_saving_prints_where_the_views_are(monkeypatch, capsys):
    import wandb_workspaces.workspaces as ws

    monkeypatch.setattr(ws.Workspace, "save", lambda self: type("Saved", (), {"url": f"https://wandb/{self.project}/{self.name}"}))
    assert workspace.main(["--entity", "team", "--project", "mine"]) == 0
    assert capsys.readouterr().out.splitlines() == ["https://wandb/mine/dhmd: training", "https://wandb/mine/dhmd: ablations"]


def test_without_the_extra_it_says_which(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UsageError, match=r"dhmd\[dashboards\]"):
        workspace.views("team", "project")
    assert workspace.main(["--entity", "team"]) == 2
    assert "pip install" in capsys.readouterr().err
