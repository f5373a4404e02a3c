"""The W&B workspace of a project: views and panels as code, by W&B's own API (the extra ``dashboards``).

``python -m dhmd.tracking.workspace --entity TEAM`` makes the views; with ``-o DIR`` it writes what it would send, and uses no network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dhmd.errors import DhmdError, RunError, UsageError
from dhmd.files import write_text
from dhmd.tracking.server import check_server

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

VALIDATION = ("loss", "mae", "corr", "acc2_non_zero", "f1_non_zero", "acc7")
TEST = ("mae", "corr", "acc2_non_zero", "f1_non_zero", "acc2_has_zero", "acc7")
SPACES = ("homogeneous", "heterogeneous")
DISTILLATION = ("regularity", "logit", "representation", "matching")
DECOUPLING = ("reconstruction", "cycle", "orthogonality", "margin")
FIGURES = {"Edges": ("edge_graphs", "edge_history"), "Dictionaries": ("dictionary_usage", "dictionary_overlap"), "Test set": ("confusion",)}
ABLATION = "labels.ablation"  # key of the configuration
TABLES = ("edges", "edges_by_sample", "top_activations")
COLUMNS = tuple(f"summary:{name}" for name in ("data", "model", "ablation", "seed", "selection/epoch", "test/mae", "test/acc2_non_zero"))
"""Columns beside the name; a run's summary is its metrics.json."""


def views(entity: str, project: str) -> list[Workspace]:
    """Return the views: ``training`` shows curves, figures and tables of single runs; ``ablations`` test metrics, grouped by ablation.

    Args:
        entity: the user or team the project belongs to.
        project: name of the project, as in ``logger.wandb.project``.

    Raises:
        UsageError: the extra ``dashboards`` is not installed.
    """
    _, ws = _libraries()
    from wandb_workspaces import expr

    common: dict[str, Any] = {"entity": entity, "project": project}
    settings = ws.WorkspaceSettings(x_axis="epoch", max_runs=20)
    columns = ["run:displayName", *COLUMNS]
    return [
        ws.Workspace(
            name="dhmd: training",
            sections=[_validation(), _test(), *_losses(), *_media()],
            settings=settings,
            runset_settings=ws.RunsetSettings(pinned_columns=columns),
            **common,
        ),
        ws.Workspace(
            name="dhmd: ablations",
            sections=[_test(ABLATION), _validation(ABLATION)],
            settings=settings,
            runset_settings=ws.RunsetSettings(pinned_columns=columns, groupby=[expr.Config(ABLATION)]),
            **common,
        ),
    ]


def specification(view: Workspace) -> str:
    """Return the JSON that W&B gets for a view, read back by the library's own model of it.

    Raises:
        ValueError: the library refuses the view (pydantic's error).
    """
    from wandb_workspaces.workspaces import internal

    sent: str = view._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=1)
    internal.WorkspaceViewspec.model_validate_json(sent)
    return sent


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the views, or write them to files; returns the exit status."""
    parser = argparse.ArgumentParser("python -m dhmd.tracking.workspace", description="Make the W&B views of a project of runs.")
    parser.add_argument("--entity", required=True, help="user or team the project belongs to")
    parser.add_argument("--project", default="dhmd", help="as in logger.wandb.project (default: dhmd)")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="write what would be sent as JSON files, and use no network")
    options = parser.parse_args(arguments)
    try:
        for view in views(options.entity, options.project):
            print(_write(view, options.output) if options.output else _save(view))
    except DhmdError as error:
        print(f"dhmd: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _write(view: Workspace, folder: Path) -> Path:
    file = folder / f"{view.name.partition(': ')[2]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, specification(view) + "\n")
    return file


def _save(view: Any) -> str:
    specification(view)
    check_server()
    try:
        saved = view.save()
    except Exception as error:  # W&B's client raises the errors of its transport
        what = f"W&B did not take the view {view.name!r} ({str(error).strip()})"
        raise RunError(f"{what}; `wandb login` once, and check --entity and --project") from error
    return str(saved.url)


def _validation(group: str | None = None) -> Section:
    wr, ws = _libraries()
    panels = [wr.LinePlot(title=m, x="epoch", y=[f"validation/{m}"], **_grouped(group)) for m in VALIDATION]
    section: Section = ws.Section("Validation", panels=panels, is_open=True)
    return section


def _test(group: str | None = None) -> Section:
    wr, ws = _libraries()
    panels = [wr.BarPlot(title=m, metrics=[f"test/{m}"], **_grouped(group)) for m in TEST]
    section: Section = ws.Section("Test", panels=panels, is_open=True)
    return section


def _losses() -> list[Section]:
    wr, ws = _libraries()
    terms = {"total": ["total"], "decoupling": DECOUPLING, **{space: [f"{space}_{term}" for term in DISTILLATION] for space in SPACES}}
    return [
        ws.Section(
            f"Losses ({split})",
            panels=[wr.LinePlot(title=title, x="epoch", y=[f"{split}/{t}" for t in names]) for title, names in terms.items()],
        )
        for split in ("train", "validation")
    ]


def _media() -> list[Section]:
    wr, ws = _libraries()
    figures = [
        ws.Section(title, panels=[wr.MediaBrowser(title=name, media_keys=[f"figures/{name}"]) for name in names])
        for title, names in FIGURES.items()
    ]
    return [*figures, ws.Section("Tables", panels=[wr.WeavePanelSummaryTable(table_name=f"tables/{name}") for name in TABLES])]


def _grouped(key: str | None) -> dict[str, Any]:
    wr, _ = _libraries()
    if key is None:
        return {}
    return {"groupby": wr.Config(key), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UsageError(f"W&B workspaces need the extra dashboards: pip install 'dhmd[dashboards]' ({error})") from error
    return wr, ws


if __name__ == "__main__":
    sys.exit(main())
