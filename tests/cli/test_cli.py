"""The command as a user meets it: what is printed where, and the exit status."""

import argparse
import os
import signal
import subprocess
import sys
import time

import pytest

import dhmd
from dhmd.app import VERBS, _flags_last
from dhmd.cli import _parser, main
from tiny_runs import DICTIONARIES, TINY

COMMAND = [sys.executable, "-m", "dhmd.cli"]


@pytest.fixture
def dhmd_train(corpus, tmp_path, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return main(["train", *TINY, *DICTIONARIES, f"data.cache_dir={corpus}", *arguments])

    return run


def run_folders(root):
    return sorted(p.parent for p in root.rglob("DONE"))


def test_help_and_version_are_quick_and_load_nothing_heavy():
    quick = "import sys; sys.argv = ['dhmd', '--help']; import dhmd.cli\ntry: dhmd.cli.main()\nexcept SystemExit: pass\n"
    check = "heavy = {'torch', 'pytorch_lightning', 'hydra', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", quick + check], capture_output=True, text=True, check=True)
    assert time.perf_counter() - start < 2  # about 0.05 s; the limit allows for a busy machine
    assert "evaluate" in done.stdout


def test_completion_knows_every_verb():
    (verbs,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert set(verbs.choices) == set(VERBS)


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"dhmd {dhmd.__version__}\n"


def test_train_prints_the_table_and_the_folder(dhmd_train, tmp_path, capsys):
    assert dhmd_train() == 0
    (folder,) = run_folders(tmp_path)
    out = capsys.readouterr().out
    assert "dhmd on demo (synthetic data), seed 1111" in out
    assert "ACC2 (non-zero)" in out
    assert str(folder) in out.replace("\n", "")
    assert folder.is_relative_to(tmp_path / "runs" / "demo" / "dhmd")
    assert "epoch 1" in (folder / "train.log").read_text()
    assert "dhmd" not in (folder / "environment.json").read_text().split("packages")[0]

    assert main(["show", str(folder)]) == 0
    assert "best" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--split", "valid"]) == 0
    out = capsys.readouterr().out
    assert "10 samples (synthetic data)" in out
    assert "valid" in out


def test_multirun_makes_a_folder_a_job_and_no_two_meet(dhmd_train, tmp_path):
    assert dhmd_train("-m", "seed=1,2", "trainer.max_epochs=1") == 0
    assert dhmd_train("-m", "seed=1", "trainer.max_epochs=1") == 0
    folders = run_folders(tmp_path)
    assert len(folders) == 3
    assert {f.name for f in folders} == {"seed-1", "seed-2", "job"}


@pytest.mark.parametrize("options", [("hydra.run.dir=file/run",), ("-m", "seed=1,2", "hydra.sweep.dir=file/sweep")])
def test_a_folder_that_cannot_be_made(dhmd_train, tmp_path, capsys, options):
    (tmp_path / "file").write_text("in the way")
    assert dhmd_train(*options) == 2
    said = capsys.readouterr().err
    assert "cannot make the run folder (Not a directory)" in said
    assert "Traceback" not in said


def test_run_dir_is_respected_and_taken_only_once(dhmd_train, tmp_path, capsys):
    assert dhmd_train("hydra.run.dir=mine", "trainer.max_epochs=1") == 0
    assert run_folders(tmp_path) == [tmp_path / "mine"]
    assert dhmd_train("hydra.run.dir=mine", "trainer.max_epochs=1") == 2
    assert "already there and finished" in capsys.readouterr().err


def test_resume_by_path_takes_the_runs_own_configuration(dhmd_train, tmp_path, capsys):
    assert dhmd_train("hydra.run.dir=mine", "trainer.max_epochs=1", "seed=7") == 0
    (tmp_path / "mine" / "DONE").unlink()
    assert main(["train", "resume=mine", "trainer.max_epochs=2"]) == 0
    assert run_folders(tmp_path) == [tmp_path / "mine"]
    assert "seed 7" in capsys.readouterr().out
    assert len((tmp_path / "mine" / "history.csv").read_text().splitlines()) == 3
    assert len((tmp_path / "mine" / "command.txt").read_text().splitlines()) == 2


def test_cfg_job_prints_the_configuration_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--cfg", "job", "--resolve", "model=dmd"]) == 0
    out = capsys.readouterr().out
    assert "model: dmd" in out
    assert "_target_: dhmd.models.DecoupledDistillation" in out
    assert not list(tmp_path.iterdir())


def test_help_of_train_lists_the_groups(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "model: dhmd, dmd, dmd_authors" in out
    assert "dhmd train resume=RUN" in out


@pytest.mark.parametrize("flags", [["-m"], ["--multirun"], ["--cfg", "job"], ["--info"], ["--info", "config"]])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_flags_stand_anywhere(flags, place):
    overrides = ["model=dmd", "seed=1"]
    mixed = [*overrides[:place], *flags, *overrides[place:]]
    assert _flags_last(mixed) == [*overrides, *flags]


def test_info_flag(capsys):
    assert main(["train", "--info", "defaults"]) == 0
    assert "optimisation" in capsys.readouterr().out


def test_a_users_own_configs_are_found(dhmd_train, tmp_path, capsys):
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\noptimisation:\n  lr: 0.25\n")
    assert main(["train", "--config-dir", str(tmp_path / "own"), "--cfg", "job", "experiment=mine"]) == 0
    assert "lr: 0.25" in capsys.readouterr().out


@pytest.mark.parametrize(
    "foreign",
    [
        "callbacks: {e: {_target_: numpy.save, file: RAN, arr: [1]}}",
        "job_logging: {handlers: {e: {class: numpy.save, file: RAN, arr: [1]}}}",
        "job_logging: {handlers: {e: {(): numpy.save, file: RAN, arr: [1]}}}",
        "job_logging: {handlers: {console: {stream: 'ext://os.environ'}}}",
    ],
)
def test_a_config_from_somebody_else_runs_nothing_through_hydra(foreign, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text = "# @package _global_\nhydra:\n  " + foreign.replace("RAN", str(tmp_path / "ran")) + "\n"
    (tmp_path / "theirs" / "experiment").mkdir(parents=True)
    (tmp_path / "theirs" / "experiment" / "x.yaml").write_text(text)
    assert main(["train", "--config-dir=theirs", "experiment=x"]) == 2
    assert "is refused" in capfd.readouterr().err
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(text)
    assert main(["train", "resume=run"]) == 1
    assert "not the configuration of a run" in capfd.readouterr().err
    assert not list(tmp_path.glob("ran*"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["data=mosi_alignd"], 2, "did you mean mosi_aligned"),
        (["data=nothing"], 2, "available: custom, demo"),
        (["modle=dmd"], 2, "did you mean model?"),
        (["model.widht=3"], 2, "did you mean model.width"),
        (["optimisation.lrr=3"], 2, "did you mean optimisation.lr"),
        (["model.width=["], 2, "no viable alternative"),
        (["--config-dir=nowhere"], 2, "nowhere' not found"),
        (["model.width=wide"], 2, "model.width: found 'wide', expected a whole number"),
        (["model.padding=mask"], 2, "model.padding: found 'mask', expected masked or authors"),
        (["model._target_=os.system"], 2, "'os.system' at model is refused"),
        (["seed=-1"], 2, "seed: found -1"),
        (["convention=sim"], 2, "convention: found 'sim'; expected one of mosi, sims"),
        (["data=mosi_aligned", "~data.synthetic"], 2, ""),
        (["data=custom"], 2, "data.path"),
        (["data=custom", "data.path=nowhere.pkl"], 1, "no such file"),
        (["resume=nowhere"], 2, "expected config.yaml"),
        (["text_encoder=bert", "text_encoder.source=."], 2, "text_encoder: cannot load the text encoder '.'"),
        (["trainer.max_epochs=many"], 2, "trainer.max_epochs: found 'many'"),
        (["callbacks.checkpoints=null"], 2, "callbacks.checkpoints is missing"),
        (["callbacks.early_stopping.monitor=test/loss"], 2, "callbacks.early_stopping.monitor: found 'test/loss'"),
        (["experiment=null"], 2, "experiment=null: expected one of demo, four_modalities"),
        (["model=null"], 2, "text_only; leave model out for what it is by itself"),
        (["ablation=null"], 2, "ablation=full for nothing taken away"),
        (["-m", "ablation=null,no_gd"], 2, "ablation=full for nothing taken away"),
        (["labels.model=null"], 2, "labels.model: nothing found, expected a name for tables"),
        (["optimisation.lr=-1"], 2, "optimisation.lr: found -1; expected a number, 0 or more"),
        (["optimisation.group_lr.dictionaries=-1"], 2, "optimisation.group_lr.dictionaries: found -1"),
        (["optimisation.scheduler.factor=2"], 2, "optimisation.scheduler: "),
        (["optimisation.accumulation.clip_value=-1"], 2, "clip_value: found -1, expected a positive number"),
        (["objective.weights.margin=null"], 2, "objective.weights.margin: found None; expected a number"),
        (["trainer.max_epochs=0"], 2, "trainer.max_epochs: found 0; expected more than 0"),
        (["+trainer.limit_val_batches=0"], 2, "trainer.limit_val_batches: found 0; expected more than 0"),
        (["+trainer.accumulate_grad_batches=2"], 2, "trainer.accumulate_grad_batches: not possible here; optimisation.accumulation"),
        (["trainer.accelerator=tpu"], 2, "trainer: "),
        (["+hydra.callbacks.e._target_=numpy.load"], 2, "hydra.callbacks.e._target_: 'numpy.load' is refused"),
    ],
)
def test_a_users_mistake_gets_a_message_and_a_status(corpus, tmp_path, monkeypatch, capfd, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    base = [] if any(a.startswith("data=") for a in arguments) else ["data.synthetic.n_train=24", f"data.cache_dir={corpus}"]
    assert main(["train", *base, *arguments]) == status
    err = capfd.readouterr().err
    assert message in err
    assert "dhmd: " in err
    assert "Traceback" not in err
    assert "Error executing job" not in err, "a line of Hydra's, before what is to be done"
    assert list(tmp_path.iterdir()) == [], "a refused command leaves nothing behind"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "nowhere"], 1, "no such run folder"),
        (["evaluate", "nowhere"], 1, "no such folder"),
        (["evaluate", ".", "--device", "cpu"], 1, "not a run folder"),
        (["results", "nowhere"], 1, "no such folder"),
        (["reproduce", "mosi"], 2, "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9"),
        (["reproduce", "mosi", "--data", "nowhere.pkl"], 2, "make demo"),
    ],
)
def test_other_verbs(tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nothing"], [], ["evaluate"], ["evaluate", "x", "--split", "train"]])
def test_wrong_usage_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


def test_an_unknown_device(finished, capsys):
    assert main(["evaluate", str(finished), "--device", "quantum"]) == 2
    assert "quantum" in capsys.readouterr().err


def test_an_unexpected_error_says_what_to_do(monkeypatch, finished, capsys):
    monkeypatch.setattr("dhmd.cli._show", lambda options: 1 / 0)
    assert main(["show", str(finished)]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert err.endswith("please report it with the lines above and the run's config.yaml\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dhmd tr", "train"),
        ("dhmd ", " ".join(VERBS)),
        ("dhmd train model=d", "model=dhmd model=dmd model=dmd_authors"),
        ("dhmd train optimisation.accumulation.b", "optimisation.accumulation.batches="),
        ("dhmd show ", ""),
    ],
)
def test_completion(line, expected, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["-sc", "query=bash"]) == 0
    assert set(capsys.readouterr().out.split()) == set(expected.split())


@pytest.mark.parametrize(
    "arguments", [["-sc", "install=bash"], ["train", "-sc", "install=bash"], ["train", "--shell-completion", "install=bash"]]
)
def test_completion_installs_itself(arguments, capsys, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    assert main(arguments) == 0
    assert capsys.readouterr().out.rstrip().endswith(" dhmd")


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_run_can_be_continued(corpus, tmp_path):
    options = [*TINY, *DICTIONARIES, f"data.cache_dir={corpus}", "trainer.max_epochs=400", "hydra.run.dir=mine"]
    command = [*COMMAND, "train", *options]
    # a suite that runs in the background has interrupts switched off, and its children with it
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ}, **hears)
    until = time.monotonic() + 120
    while not (tmp_path / "mine" / "checkpoints" / "last.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in err
    assert not (tmp_path / "mine" / "DONE").exists()
    epochs = len((tmp_path / "mine" / "history.csv").read_text().splitlines())
    more = [*COMMAND, "train", "resume=mine", f"trainer.max_epochs={epochs + 2}"]
    subprocess.run(more, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert (tmp_path / "mine" / "DONE").exists()
