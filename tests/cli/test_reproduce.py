"""make reproduce-...: what is trained, what is kept, and the table at the end."""

import pytest

from dhmd import reproduce as room
from dhmd.cli import main
from dhmd.data.demo import write_pickle
from dhmd.data.synthetic import SyntheticOptions
from dhmd.errors import RunError
from dhmd.reproduce import reproduce
from tiny_runs import DICTIONARIES, TINY

SMALL = [option for option in TINY if not option.startswith(("data=", "data.synthetic"))]
OVERRIDES = [*SMALL, "trainer.max_epochs=1", "text_encoder=features", "data.non_finite=zero"]


@pytest.fixture
def pickle_file(tmp_path):
    def make(aligned):
        path = tmp_path / "features.pkl"
        write_pickle(path, SyntheticOptions(n_train=16, n_valid=8, n_test=8, length=12, aligned=aligned))
        return path

    return make


@pytest.fixture
def in_this_process(monkeypatch, no_figures):
    """Starting Python and Lightning anew takes seconds; here each training runs in the test's process."""
    commands = []

    def call(command, env):
        commands.append((command, env))
        overrides = command[command.index("train") + 1 :]
        small = [*DICTIONARIES] if any("repro/dhmd" in o for o in overrides) else []
        return main(["train", *overrides, *small])

    monkeypatch.setattr(room, "_call", call)
    return commands


@pytest.mark.parametrize("aligned", [True, False])
def test_every_model_and_seed_is_trained_once_and_tabled(pickle_file, in_this_process, tmp_path, aligned, caplog):
    name = f"mosi_{'aligned' if aligned else 'unaligned'}"
    table = reproduce("mosi", str(pickle_file(aligned)), seeds=2, gpus=0, runs=tmp_path / "runs", overrides=OVERRIDES)
    folders = {f"{model}_seed{seed}" for model in ("dmd", "dhmd") for seed in (1111, 1112)}
    assert {p.parent.name for p in (tmp_path / "runs" / name).glob("*/DONE")} == folders
    assert all(any(o.startswith("experiment=repro/d") and o.endswith(name) for o in command) for command, _ in in_this_process)
    assert "none of the published files" in caplog.text
    assert "dmd" in table
    assert "synthetic" in table
    assert "±" in table

    in_this_process.clear()
    (tmp_path / "runs" / name / "dhmd_seed1112" / "DONE").unlink()
    assert reproduce("mosi", str(tmp_path / "features.pkl"), 2, 0, tmp_path / "runs", OVERRIDES) == table
    assert len(in_this_process) == 1  # the finished ones are kept


def test_a_failed_training_is_named_and_stops_no_other(pickle_file, tmp_path, monkeypatch, no_figures):
    def call(command, env):
        overrides = command[command.index("train") + 1 :]
        if "experiment=repro/dhmd_mosi_aligned" in overrides:
            return 1
        return main(["train", *overrides])

    monkeypatch.setattr(room, "_call", call)
    with pytest.raises(RunError, match=r"1 of 2 trainings failed: dhmd_seed1111"):
        reproduce("mosi", str(pickle_file(True)), 1, 0, tmp_path / "runs", OVERRIDES)
    assert (tmp_path / "runs" / "mosi_aligned" / "dmd_seed1111" / "DONE").exists()


def test_gpus_are_handed_out_one_a_run(pickle_file, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    seen = []

    def call(command, env):
        seen.append((env["CUDA_VISIBLE_DEVICES"], command[-1]))
        return 1

    monkeypatch.setattr(room, "_call", call)
    with pytest.raises(RunError, match="6 of 6"):
        reproduce("mosi", str(pickle_file(True)), 3, 2, tmp_path / "runs")
    assert len(seen) == 6
    assert {device for device, _ in seen} <= {"4", "7"}
    assert {last for _, last in seen} == {"trainer.accelerator=gpu"}


def test_a_refused_override_stops_at_once(pickle_file, in_this_process, tmp_path, capsys):
    arguments = ["reproduce", "mosi", "--data", str(pickle_file(True)), "--runs", str(tmp_path / "runs"), "--set", "model.widht=3"]
    assert main(arguments) == 2
    assert len(in_this_process) == 1
    assert "did you mean model.width" in capsys.readouterr().err
