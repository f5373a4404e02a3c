"""Steps: one pass or several over the training split, and an epoch that ends early."""

import csv

import pytest
import torch

from dhmd.errors import UsageError
from dhmd.training.load import load_network
from dhmd.training.steps import AlternatingStep
from dhmd.training.train import train

STAGES = (
    "step=alternating",
    "step.stages=[{groups: [dictionaries, graph_units], weights: {margin: 1.0, homogeneous_matching: 1.0}}, "
    "{groups: [text_encoder, network], weights: null}]",
)
ONE_BATCH_A_STEP = "optimisation.accumulation.batches=1"


def history(run_dir):
    with (run_dir / "history.csv").open() as file:
        return list(csv.DictReader(file))


def weights(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_alternating_stages_train_their_groups_and_log_their_terms(tiny, tmp_path, no_figures):
    train(tiny(tmp_path / "both", *STAGES, ONE_BATCH_A_STEP, "trainer.max_epochs=1"))
    (row,) = history(tmp_path / "both")
    assert float(row["train/stage0_total"]) == pytest.approx(float(row["train/margin"]) + float(row["train/homogeneous_matching"]), abs=0.2)
    checkpoint = torch.load(tmp_path / "both" / "checkpoints" / "last.ckpt", weights_only=True)
    steps = [{int(s["step"]) for s in one["state"].values()} for one in checkpoint["optimizer_states"]]
    assert steps == [{6}, {6}]  # six batches a pass, a step each
    names = [[g["name"] for g in one["param_groups"]] for one in checkpoint["optimizer_states"]]
    assert names == [["dictionaries", "graph_units"], ["network"]] or names == [["graph_units", "dictionaries"], ["network"]]


def test_an_interrupted_alternating_run_ends_with_the_same_bits(tiny, tmp_path, no_figures, monkeypatch):
    options = (*STAGES, "optimisation.accumulation.batches=2", "callbacks.checkpoints.every_n_batches=1", "trainer.max_epochs=2")
    train(tiny(tmp_path / "whole", *options))
    module = load_network(tmp_path / "whole").module.__class__
    start = module.on_train_batch_start
    for batch in (3, 9):  # in the first and in the second stage of the second epoch

        def stop(self, data, batch_idx, at=batch):
            if self.current_epoch == 1 and batch_idx == at:
                raise KeyboardInterrupt
            start(self, data, batch_idx)

        run_dir = tmp_path / f"stopped{batch}"
        monkeypatch.setattr(module, "on_train_batch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(run_dir, *options))
        monkeypatch.setattr(module, "on_train_batch_start", start)
        train(tiny(run_dir, *options, "resume=true"))
        assert history(run_dir) == history(tmp_path / "whole")
        whole = weights(tmp_path / "whole")
        assert all(torch.equal(x, whole[name]) for name, x in weights(run_dir).items())


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("[{groups: [network]}]", "step.stages: found 1; expected two at least"),
        ("[{groups: [network], weight: {}}, {groups: [dictionaries]}]", "step.stages[0].weight: no such option; expected among groups"),
        ("[{groups: [network]}, {groups: [dictionaries]}]", "no stage trains the group 'graph_units'"),
        ("[{groups: [network, units]}, {groups: [dictionaries, graph_units]}]", "step.stages[0].groups: found ['network', 'units']"),
        ("[{groups: [network], weights: {margn: 1}}, {groups: [dictionaries, graph_units]}]", "step.stages[0].weights.margn: no such term"),
    ],
)
def test_stages_that_cannot_be(stages, message, tiny, tmp_path):
    with pytest.raises(UsageError) as caught:
        train(tiny(tmp_path / "run", "step=alternating", f"step.stages={stages}"))
    assert message in str(caught.value)


def test_a_step_needs_stages():
    with pytest.raises(UsageError, match="found 0; expected two at least, or step=single"):
        AlternatingStep([])


@pytest.mark.parametrize(("steps", "rows"), [(4, 1), (6, 1), (8, 2)])
def test_an_epoch_that_max_steps_ends_is_validated(steps, rows, tiny, tmp_path, no_figures):
    run_dir = tmp_path / "run"
    result = train(tiny(run_dir, ONE_BATCH_A_STEP, f"trainer.max_steps={steps}", "trainer.max_epochs=5"))
    found = history(run_dir)
    assert len(found) == rows
    assert len({row["validation/loss"] for row in found}) == rows  # each its own
    checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == steps
    best = min(found, key=lambda row: float(row["validation/loss"]))
    assert result.metrics["selection"]["epoch"] == int(float(best["epoch"]))
    assert float(best["validation/loss"]) == pytest.approx(result.metrics["selection"]["value"], rel=1e-6)


def test_a_schedule_by_step_is_resumed_inside_an_epoch(tiny, tmp_path, no_figures, monkeypatch):
    options = ("optimisation/scheduler=warmup_cosine", "optimisation.interval=step", ONE_BATCH_A_STEP, "trainer.max_epochs=2")
    options = (*options, "callbacks.checkpoints.every_n_batches=1")
    train(tiny(tmp_path / "whole", *options))
    module = load_network(tmp_path / "whole").module.__class__
    start = module.on_train_batch_start

    def stop(self, data, batch_idx):
        if self.current_epoch == 1 and batch_idx == 3:
            raise KeyboardInterrupt
        start(self, data, batch_idx)

    monkeypatch.setattr(module, "on_train_batch_start", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path / "stopped", *options))
    monkeypatch.setattr(module, "on_train_batch_start", start)
    train(tiny(tmp_path / "stopped", *options, "resume=true"))
    assert history(tmp_path / "stopped") == history(tmp_path / "whole")


def test_rates_follow_a_warm_up_by_step(tiny, tmp_path, no_figures):
    options = ("optimisation/optimizer=adamw", "optimisation/scheduler=warmup_linear", "optimisation.interval=step")
    train(tiny(tmp_path / "run", *options, "optimisation.scheduler.warmup=0.25", ONE_BATCH_A_STEP, "trainer.max_epochs=2"))
    # twelve steps: a rise over three, then down to 0; the rate is read at the end of an epoch
    rates = [float(row["lr"]) for row in history(tmp_path / "run")]
    assert rates == pytest.approx([1e-3 * (12 - 6) / (12 - 3), 0.0])


def test_an_optimizer_and_a_callback_of_ones_own(tiny, tmp_path, no_figures, monkeypatch):
    file = tmp_path / "own_training.py"
    file.write_text(
        "import torch\nfrom pytorch_lightning import Callback\n"
        "class Halved(torch.optim.SGD):\n    def __init__(self, params, **options):\n        super().__init__(params, **options)\n"
        "class Epochs(Callback):\n    seen = []\n"
        "    def on_train_epoch_end(self, trainer, pl_module):\n        self.seen.append(trainer.current_epoch)\n"
    )
    monkeypatch.setenv("DHMD_EXTENSIONS", str(file))
    config = tiny(tmp_path / "run", "trainer.max_epochs=2")
    config.optimisation.optimizer = {"_target_": "own_training.Halved", "_partial_": True}
    config.callbacks.own = {"_target_": "own_training.Epochs"}
    train(config)
    import own_training

    assert own_training.Epochs.seen == [0, 1]
