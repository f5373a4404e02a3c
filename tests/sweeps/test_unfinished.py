"""Jobs that a table of results lacks are named with what became of them."""

import json

import pytest

from dhmd.cli import main
from dhmd.errors import RunError
from dhmd.sweeps.folder import write_sweep
from dhmd.sweeps.unfinished import unfinished
from fabricated import make_run


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "runs/study"
    for seed in (1, 2):
        make_run(folder / f"seed-{seed}", seed=seed, n=20, epochs=4, stages=())
    failed, _ = (make_run(folder / f"seed-{s}", seed=s, n=20, epochs=4, stages=(), done=False) for s in (3, 4))
    (failed / "FAILED").write_text("training has diverged: loss is nan\nsecond line\n")
    write_sweep(folder, {f"seed-{s}": [f"seed={s}"] for s in (1, 2, 3, 4, 5)}, "dhmd train -m")
    return folder


def test_every_job_that_is_not_finished_is_found(sweep):
    said = {path.name: why for path, why in unfinished([sweep.parent]).items()}
    assert said == {"seed-3": "failed: training has diverged: loss is nan", "seed-4": "interrupted", "seed-5": "waiting"}
    assert unfinished([sweep]) == unfinished([sweep.parent])


def test_progress_is_said_where_it_is_known(sweep):
    config = sweep / "seed-4/config.yaml"
    config.write_text(config.read_text() + "trainer:\n  max_epochs: 9\n")
    assert unfinished([sweep])[(sweep / "seed-4").resolve()] == "interrupted after 4 of 9 epochs"


def test_the_command_names_them_under_the_table(sweep, capsys):
    assert main(["results", str(sweep)]) == 0
    said = capsys.readouterr().out
    for line in (
        "- `study/seed-3`: failed",
        "training has diverged: loss is nan",
        "- `study/seed-4`: interrupted",
        "- `study/seed-5`: waiting",
    ):
        assert line in said
    assert "second line" not in said
    assert main(["results", str(sweep), "--format", "latex"]) == 0
    assert r"\item \texttt{study/seed-5}: waiting" in capsys.readouterr().out


def test_a_sweep_none_of_whose_jobs_has_begun_is_named_too(tmp_path, capsys):
    folder = tmp_path / "study"
    folder.mkdir()
    write_sweep(folder, {"seed-1": ["seed=1"]}, "dhmd train -m")
    assert main(["results", str(folder)]) == 1
    assert capsys.readouterr().out == "Not in the table:\n\n- `study/seed-1`: waiting\n"


def test_runs_outside_of_sweeps_and_imported_checkpoints(tmp_path):
    make_run(tmp_path / "alone", n=20, epochs=4, stages=(), done=False)
    imported = tmp_path / "imported"
    imported.mkdir()
    (imported / "config.yaml").write_text("{}")
    (imported / "imported.json").write_text("{}")
    assert {path.name for path in unfinished([tmp_path])} == {"alone"}
    assert unfinished([tmp_path / "nowhere"]) == {}


def test_a_damaged_list_of_jobs_is_refused(sweep):
    (sweep / "sweep.json").write_text(json.dumps([]))
    with pytest.raises(RunError, match="damaged"):
        unfinished([sweep])
