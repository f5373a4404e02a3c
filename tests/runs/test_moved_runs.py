"""A run folder that was moved or copied: everything of it is found where it is now."""

import shutil

import pytest
import yaml

from dhmd.cli import main
from dhmd.errors import RunError
from dhmd.runs.folder import RunFolder
from dhmd.runs.identity import digest
from dhmd.runs.reader import read_run
from fabricated import make_run


def written(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return RunFolder(folder).config()


def test_paths_of_a_configuration_are_those_of_the_folder_where_it_is_now(tmp_path):
    config = {
        "run_dir": "/before/run",
        "callbacks": {"checkpoints": {"dirpath": "/before/run/checkpoints"}, "list": ["/before/run", "/before/runs", 3, None]},
        "data": {"path": "/before/run/features.pkl", "cache_dir": "/before", "name": "see /before/run"},
    }
    found = written(tmp_path / "now", config)
    now = str(tmp_path / "now")
    assert found["run_dir"] == now
    assert found["callbacks"] == {"checkpoints": {"dirpath": f"{now}/checkpoints"}, "list": [now, "/before/runs", 3, None]}
    assert found["data"] == {"path": f"{now}/features.pkl", "cache_dir": "/before", "name": "see /before/run"}


@pytest.mark.parametrize("recorded", [".", "/"])
def test_a_run_folder_that_says_too_little_moves_itself_alone(tmp_path, recorded):
    found = written(tmp_path, {"run_dir": recorded, "text_encoder": {"source": "."}, "data": {"path": "/data/x.pkl"}})
    assert (found["run_dir"], found["text_encoder"], found["data"]) == (str(tmp_path), {"source": "."}, {"path": "/data/x.pkl"})


def test_a_relative_run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = written(tmp_path / "runs/one", {"run_dir": "runs/one", "callbacks": {"checkpoints": {"dirpath": "runs/one/checkpoints"}}})
    assert found["callbacks"]["checkpoints"]["dirpath"] == f"{tmp_path}/runs/one/checkpoints"


def test_a_configuration_without_a_run_folder_stays(tmp_path):
    assert "run_dir" not in written(tmp_path, {"seed": 1})


def test_a_moved_run_is_the_same_configuration(tmp_path):
    before = read_run(make_run(tmp_path / "a"))
    after = read_run(shutil.move(tmp_path / "a", tmp_path / "elsewhere" / "b"))
    assert after.config["callbacks"]["checkpoints"]["dirpath"] == f"{tmp_path}/elsewhere/b/checkpoints"
    assert digest(after.config) == digest(before.config)


@pytest.mark.usefixtures("no_figures")
def test_resuming_a_copy_writes_into_the_copy(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "it's a copy")
    (copy / "DONE").unlink()
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert main(["train", f"resume={copy}", "trainer.max_epochs=4"]) == 0
    assert len(read_run(copy).metrics["validation"]) == 4
    assert (copy / "checkpoints/last.ckpt").read_bytes() != (finished / "checkpoints/last.ckpt").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_configuration_that_is_none_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("- a\n- list\n")
    with pytest.raises(RunError, match=r"config\.yaml: found a list, expected a mapping"):
        RunFolder(tmp_path).config()
