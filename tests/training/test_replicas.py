"""``trainer.replicas``: each run as if it had been alone."""

import csv
import json

import h5py
import numpy as np
import pytest
import torch
import yaml

from dhmd.cli import main
from dhmd.errors import UsageError
from dhmd.training.replicas import make_of, replicas_of, sets_of
from dhmd.training.together import train_together
from dhmd.training.train import train
from tiny_runs import DICTIONARIES, TINY

pytestmark = pytest.mark.usefixtures("no_figures")


def history(folder):
    with (folder / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def same_record(one, other, tolerance):
    mine, theirs = history(one), history(other)
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key] == pytest.approx(b[key], rel=tolerance, abs=tolerance), key
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert metrics[0]["selection"]["epoch"] == metrics[1]["selection"]["epoch"]
    with h5py.File(one / "record.h5") as a, h5py.File(other / "record.h5") as b:
        names = []
        a.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) and node.dtype.kind == "f" else None)
        assert names
        for name in names:
            np.testing.assert_allclose(a[name][()], b[name][()], rtol=tolerance, atol=tolerance, err_msg=name)


NO_DROPOUT = [f"model.dropout.{k}=0" for k in ("memory", "relu", "residual", "embedding", "text", "output")]
NO_DROPOUT += [f"model.dropout.attention.{m}=0" for m in ("language", "vision", "acoustic")]


# with masks, what dropout draws follows the longest sequence of all replicas
@pytest.mark.parametrize(
    "overrides", [NO_DROPOUT, pytest.param(["model.padding=authors"], marks=pytest.mark.slow)], ids=["without dropout", "with dropout"]
)
def test_a_replica_leaves_the_record_of_a_run_by_itself(overrides, tiny, tmp_path):
    seeds = (1, 2)
    results = train_together([tiny(tmp_path / f"together{s}", f"seed={s}", *overrides) for s in seeds])
    for seed, result in zip(seeds, results, strict=True):
        alone = train(tiny(tmp_path / f"alone{seed}", f"seed={seed}", *overrides))
        same_record(result.run_dir, alone.run_dir, 1e-3)
        weights = [torch.load(r.run_dir / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for r in (result, alone)]
        for name in weights[0]:
            torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-3)
    assert history(results[0].run_dir) != history(results[1].run_dir)


@pytest.mark.slow
def test_each_has_its_own_schedule_and_stops_by_itself(tiny, tmp_path):
    of = {"still": "optimisation.lr=0.0", "moving": "optimisation.lr=1.0e-3"}
    common = ("callbacks.early_stopping.patience=2", "optimisation.patience=0", "trainer.max_epochs=4")
    results = train_together([tiny(tmp_path / name, lr, *common, model="dmd") for name, lr in of.items()])
    rows = {name: history(result.run_dir) for name, result in zip(of, results, strict=True)}
    assert len(rows["still"]) == 3 < len(rows["moving"])
    for name, lr in of.items():
        alone = train(tiny(tmp_path / f"{name} alone", lr, *common, model="dmd"))
        same_record(tmp_path / name, alone.run_dir, 1e-3)


def test_a_replica_that_fails_leaves_the_others_their_end(tiny, tmp_path):
    good, bad = tiny(tmp_path / "good", "seed=1"), tiny(tmp_path / "bad", "seed=2", "optimisation.lr=1.0e30")
    with pytest.raises(Exception, match=r"1 of 2 runs failed(?s:.*)bad: the validation loss is nan"):
        train_together([good, bad])
    assert (tmp_path / "good" / "DONE").exists()
    assert "diverged" in (tmp_path / "bad" / "FAILED").read_text()
    assert not (tmp_path / "good" / "FAILED").exists()


def test_one_command_trains_seeds_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", *TINY, *DICTIONARIES, "trainer.max_epochs=1", "trainer.replicas=2", "seed=7", "hydra.run.dir=here"]
    assert main(command) == 0
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["seed-7", "seed-8", "sweep.json"]
    config = yaml.safe_load((tmp_path / "here" / "seed-8" / "config.yaml").read_text())
    assert (config["seed"], config["data"]["seed"], config["trainer"]["replicas"], config["trainer"]["beside"]) == (8, 8, 1, None)
    assert "seed-7" in (tmp_path / "here" / "seed-7" / "train.log").read_text()
    assert "seed-8" not in (tmp_path / "here" / "seed-7" / "train.log").read_text().partition("epoch")[2]
    assert main(["sweep", "status", "here"]) == 0
    assert "2 jobs: 2 finished" in capsys.readouterr().out
    assert main(command) == 2
    assert "a run is already there" in capsys.readouterr().err
    assert main([*command, "resume=true"]) == 0


@pytest.mark.slow
def test_a_sweep_trains_what_is_alike_in_one_program(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    varied = ["seed=1,2", "model.layers=1,2", "trainer.replicas=3", "hydra.sweep.dir=s"]
    assert main(["train", "-m", *TINY, *DICTIONARIES, "trainer.max_epochs=1", *varied]) == 0
    said = capsys.readouterr().out
    assert said.count("2 runs at once") == 2  # one for each number of layers
    for layers in (1, 2):
        for seed in (1, 2):
            config = yaml.safe_load((tmp_path / "s" / f"layers-{layers},seed-{seed}" / "config.yaml").read_text())
            assert (config["model"]["layers"], config["seed"], config["labels"]["model"]) == (layers, seed, "dhmd")
            assert config["run_dir"].endswith(f"layers-{layers},seed-{seed}")


def test_what_a_sweep_says_reaches_the_jobs_beside(tmp_path, monkeypatch):
    """Further folders of configurations, another name of the first file, labels of one's own; replicas may vary, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    lines = "defaults:\n  - train\n  - _self_\noptimisation:\n  lr: 0.005\nlabels:\n  model: mine\n"
    (tmp_path / "own" / "other.yaml").write_text(lines)
    flags = ["--config-dir", "own", "--config-name", "other"]
    sizes = [o for o in TINY if not o.startswith("optimisation.lr")]
    varied = ["seed=1,2", "trainer.replicas=1,2", "hydra.sweep.dir=s", "evaluate_test=false"]
    assert main(["train", "-m", *sizes, *DICTIONARIES, "trainer.max_epochs=1", *varied, *flags]) == 0
    for count in (1, 2):
        for seed in (1, 2):
            found = yaml.safe_load((tmp_path / "s" / f"seed-{seed},replicas-{count}" / "config.yaml").read_text())
            assert (found["optimisation"]["lr"], found["labels"]["model"], found["seed"]) == (0.005, "mine", seed)


def test_what_is_refused_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", *TINY, *DICTIONARIES, "trainer.replicas=2", "hydra.run.dir=here"]
    assert main([*command, "trainer.precision=64"]) == 2
    assert main([*command, "seed=4294967295"]) == 2
    assert "from 0 to 2**32 - 1" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "here").rglob("*") if path.is_file()]


def config(**changes):
    base = {
        "seed": 1,
        "convention": "mosi",
        "data": {"seed": 1, "name": "demo", "batch_size": 4},
        "text_encoder": {"_target_": "features"},
        "model": {"width": 8},
        "objective": {"margin": 0.15, "weights": {"margin": 0.1}},
        "optimisation": {"lr": 1e-3},
        "trainer": {"replicas": 2, "devices": 1, "max_epochs": 3},
    }
    for path, value in changes.items():
        part, _, key = path.partition("__")
        base[part] = {**base[part], key: value} if key else value
    return base


def test_what_differs_in_seeds_and_weights_is_of_one_make():
    first = make_of(config())
    for same in ({"seed": 2, "data__seed": 2}, {"objective__weights": {}}, {"optimisation__lr": 1.0}, {"trainer__max_epochs": 9}):
        assert make_of(config(**same)) == first
    for other in ({"model__width": 16}, {"objective__margin": 0.2}, {"data__batch_size": 8}, {"trainer__precision": "bf16-mixed"}):
        assert make_of(config(**other)) != first


def test_weight_decay_wants_the_same_terms():
    decaying = {"optimisation__weight_decay": 0.1}
    without, half, full = (config(objective__weights={"margin": w}, **decaying) for w in (0.0, 0.5, 1.0))
    assert make_of(half) == make_of(full) != make_of(without)


def test_sets_are_no_larger_than_said():
    jobs = {str(i): config(seed=i) for i in range(5)} | {"wide": config(model__width=16)}
    assert sets_of(jobs) == [["0", "1"], ["2", "3"], ["4"], ["wide"]]
    assert sets_of({name: config(trainer__replicas=1) for name in "ab"}) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer__replicas": 0}, "found 0; expected how many runs"),
        ({"trainer__replicas": True}, "found True"),
        ({"trainer__replicas": "four"}, "found 'four'"),
        ({"trainer__devices": 2}, "one process on one device"),
        ({"trainer__strategy": "ddp"}, "one process on one device"),
        ({"text_encoder__frozen": False}, "text_encoder.frozen=true"),
    ],
)
def test_what_cannot_be_one_program_is_refused(changes, said):
    with pytest.raises(UsageError, match=said):
        replicas_of(config(**changes))
    assert replicas_of(config(text_encoder__frozen=True)) == 2
