"""make reproduce-...: what is trained, what is kept, and the tables and page at the end."""

import pytest

from dhmd import reproduce as room
from dhmd.cli import main
from dhmd.data.synthetic.files import write_pickle
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.errors import RunError, UsageError
from dhmd.reproduce import reproduce
from tiny_runs import DICTIONARIES, TINY

SMALL = [option for option in TINY if not option.startswith(("data=", "data.synthetic"))]
OVERRIDES = [*SMALL, "trainer.max_epochs=1", "text_encoder=features", "data.non_finite=zero"]


@pytest.fixture
def pickle_file(tmp_path):
    def make(aligned):
        path = tmp_path / f"{'aligned' if aligned else 'unaligned'}.pkl"
        write_pickle(path, SyntheticOptions(n_train=16, n_valid=8, n_test=8, length=12, aligned=aligned))
        return str(path)

    return make


@pytest.fixture
def in_this_process(monkeypatch, no_figures):
    """Starting Python and Lightning anew takes seconds; here each sweep runs in the test's process. The study is two ablations."""
    sweeps = []

    def call(command):
        sweeps.append(command[command.index("train") + 1 :])
        of_dhmd = any("repro/dhmd" in o for o in command)
        return main(["train", *sweeps[-1], *([*DICTIONARIES, "ablation=full,no_gd"] if of_dhmd else [])])

    monkeypatch.setattr(room, "_call", call)
    monkeypatch.setattr(room, "_launcher", lambda gpus: ["trainer.accelerator=cpu"])
    return sweeps


def run(files, runs, seeds=2, overrides=OVERRIDES):
    return reproduce("mosi", files, seeds, 0, runs, overrides=overrides)


@pytest.mark.slow
def test_both_files_end_in_tables_and_one_page(pickle_file, in_this_process, tmp_path, caplog):
    runs = tmp_path / "runs"
    said = run([pickle_file(True), pickle_file(False)], runs)
    jobs = {"dmd_seeds": {"seed-1111", "seed-1112"}}
    jobs["dhmd_kd_stages"] = {f"ablation-{a},{seed}" for a in ("full", "no_gd") for seed in jobs["dmd_seeds"]}
    for kind in ("aligned", "unaligned"):
        for sweep, names in jobs.items():
            assert {p.parent.name for p in (runs / "mosi" / kind / sweep).glob("*/DONE")} == names
    assert [next(o for o in sweep if o.startswith("experiment=")) for sweep in in_this_process] == [
        f"experiment=repro/{model}_mosi_{kind}" for kind in ("aligned", "unaligned") for model in ("dmd", "dhmd")
    ]
    assert "none of the published files" in caplog.text
    assert said.count("Differences to **dhmd full**") == 2
    for part in ("| dmd |", "| dhmd | no_gd |", "synthetic", "±"):
        assert part in said
    page = (runs / "mosi" / "report.html").read_text()
    assert "no_gd" in page
    assert "dmd" in page


@pytest.mark.slow
def test_what_is_finished_is_kept(pickle_file, in_this_process, tmp_path):
    files, runs = [pickle_file(True)], tmp_path / "runs"
    said = run(files, runs)
    written = {p: p.stat().st_mtime_ns for p in runs.rglob("metrics.json")}
    undone = runs / "mosi" / "aligned" / "dhmd_kd_stages" / "ablation-no_gd,seed-1112"
    (undone / "DONE").unlink()
    assert run(files, runs).partition("report.html")[0] == said.partition("report.html")[0]
    assert {p for p, t in written.items() if p.stat().st_mtime_ns != t} == {undone / "metrics.json"}


@pytest.mark.slow
def test_a_failed_training_is_named_and_stops_no_other(pickle_file, tmp_path, monkeypatch, in_this_process):
    worked = room._call
    monkeypatch.setattr(
        room, "_call", lambda command: worked([*command, "optimisation.lr=1.0e+30"] if "repro/dhmd" in str(command) else command)
    )
    with pytest.raises(RunError, match=r"2 trainings did not finish: aligned/dhmd_kd_stages/ablation-full,seed-1111") as error:
        run([pickle_file(True)], tmp_path / "runs", seeds=1)
    assert "| dmd |" in str(error.value)
    assert (tmp_path / "runs" / "mosi" / "report.html").exists()


def test_each_visible_gpu_is_given_to_one_run_at_a_time(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,9")
    assert room._launcher(2)[1:] == ["launcher=process", "hydra.launcher.n=2", "hydra.launcher.gpus=[4,7]"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert room._launcher(2)[-1] == "hydra.launcher.gpus=[0,1]"
    assert room._launcher(0) == ["trainer.accelerator=cpu", "launcher=process"]


def test_two_files_of_one_kind_are_refused(pickle_file, tmp_path):
    with pytest.raises(UsageError, match="found two aligned files"):
        run([pickle_file(True)] * 2, tmp_path / "runs")


def test_a_study_that_is_none_is_refused(pickle_file, tmp_path):
    with pytest.raises(UsageError, match=r"found .stages.; expected one of .*kd_stages"):
        reproduce("mosi", [pickle_file(True)], 1, 0, tmp_path, study="stages")


def test_a_refused_override_stops_at_once(pickle_file, in_this_process, tmp_path, capsys):
    arguments = ["reproduce", "mosi", "--data", pickle_file(True), "--runs", str(tmp_path / "runs"), "--set", "model.widht=3"]
    assert main(arguments) == 2
    assert len(in_this_process) == 1
    assert "did you mean model.width" in capsys.readouterr().err
