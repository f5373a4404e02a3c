"""Alternating training against the same training written out in plain torch; terms' hooks; limits of batches."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from test_steps import history
from torch import nn

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.data.loader import FeatureLoader
from dhmd.losses import Objective, TaskLoss
from dhmd.models import Network, Outputs
from dhmd.training.accumulation import MeanAccumulation
from dhmd.training.module import MultimodalModule
from dhmd.training.optimisation import Optimisation
from dhmd.training.steps import AlternatingStep, SingleStep
from dhmd.training.train import train
from dhmd.training.validation_loss import SampleMean

SPEC = FeatureSpec({"language": 3}, {"language": 2})
WEIGHTS = {"left": 0.5, "both": 1.0, "noted": 0.0}
STAGES = [{"groups": ["left"], "weights": {"left": 2.0, "both": 0.25}}, {"groups": ["right", "network"], "weights": None}]
BATCH, LR, CLIP, EPOCHS = 4, 0.1, 0.3, 2


class Clips(torch.utils.data.Dataset):
    """Seven samples of random features and a label that follows from them."""

    def __init__(self, n=7):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 2, 3, generator=generator)
        self.label = self.x.sum(dim=(1, 2)).clamp(-3, 3)

    def __len__(self):
        return len(self.x)

    def __getitems__(self, rows):
        index = torch.tensor(rows)
        masks = {"language": torch.ones(len(index), 2, dtype=torch.bool)}
        return FeatureBatch({"language": self.x[index]}, masks, label=self.label[index], index=index)


class Toy(Network):
    """The sum of two linear layers, each a group, and of a bias that is in none."""

    groups = {"left": ("left",), "right": ("right",)}  # noqa: RUF012

    def __init__(self, spec):
        super().__init__(spec)
        self.left, self.right = nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, batch):
        x = self.encode(batch).features["language"].mean(dim=1)
        left, right = self.left(x), self.right(x)
        return Outputs(left + right + self.bias, unimodal={"left": left, "right": right})


class Noted:
    """A term that notes its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, outputs, batch):
        return outputs.prediction.sum() * 0

    def begin_epoch(self, epoch):
        self.calls.append(("epoch", epoch))

    def after_backward(self, outputs, batch, batch_idx):
        self.calls.append((batch_idx, batch.index.tolist()))


def left(outputs, batch):
    return (outputs.unimodal["left"].squeeze(1) - batch.labels).square().mean()


def both(outputs, batch):
    return (outputs.prediction.squeeze(1) - batch.labels).square().mean()


def loader(shuffle=True, passes=1):
    return FeatureLoader.over(Clips(), BATCH, shuffle, 5, 0, passes)


def module_of(step, batches=1, noted=None):
    torch.manual_seed(1)
    objective = Objective(TaskLoss(SPEC), weights=WEIGHTS, terms={"left": left, "both": both, "noted": noted or Noted()})
    optimisation = Optimisation(
        lr=LR, optimizer=partial(torch.optim.SGD), accumulation=MeanAccumulation(batches, clip_norm=CLIP), validation_loss=SampleMean()
    )
    return MultimodalModule(Toy(SPEC), objective, optimisation, step, SPEC)


class Watch(pl.Callback):
    """Parameters after every batch, and the names of those with a gradient left."""

    def __init__(self):
        self.seen, self.left_over = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append([p.detach().clone() for p in pl_module.network.parameters()])
        self.left_over.append({n.split(".")[0] for n, p in pl_module.network.named_parameters() if p.grad is not None})


def fitted(module, **options):
    watch = Watch()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=EPOCHS, accelerator="cpu", num_sanity_val_steps=0, callbacks=[watch], **quiet, **options)
    trainer.fit(module, loader(passes=module.step.stages), loader(shuffle=False))
    return watch


def by_hand(batches, clip_all):
    """The parameters after every batch, and the stages' losses, from plain gradients."""
    torch.manual_seed(1)
    network, seen, logged = Toy(SPEC), [], {"stage0_total": [], "total": [], "left": [], "both": []}
    parameters = dict(network.named_parameters())
    trained = [["left.weight"], ["right.weight", "bias"]]
    weights = [{"left": 2.0, "both": 0.25}, WEIGHTS]
    data = loader(passes=2)
    for epoch in range(EPOCHS):
        data.sampler.set_epoch(epoch)
        every = list(data)
        passes = [every[:2], every[2:]]
        for losses in logged.values():
            losses.clear()
        for k, one in enumerate(passes):
            window = []
            for i, batch in enumerate(one):
                outputs = network(batch)
                terms = {"left": left(outputs, batch), "both": both(outputs, batch)}
                loss = sum(weights[k][name] * x for name, x in terms.items())
                gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
                window.append([torch.zeros_like(p) if g is None else g for p, g in zip(parameters.values(), gradients, strict=True)])
                for name, x in (*terms.items(), ("total" if k else "stage0_total", loss)):
                    logged[name].append((x.item(), len(batch)))
                if len(window) == batches or i == len(one) - 1:
                    mean = dict(zip(parameters, (torch.stack(g).mean(dim=0) for g in zip(*window, strict=True)), strict=True))
                    counted = mean if clip_all else {name: mean[name] for name in trained[k]}
                    scale = min(1.0, CLIP / (torch.cat([g.flatten() for g in counted.values()]).norm().item() + 1e-6))
                    with torch.no_grad():
                        for name in trained[k]:
                            parameters[name] -= LR * scale * mean[name]
                    window = []
                seen.append([p.detach().clone() for p in network.parameters()])
    return seen, {name: sum(x * n for x, n in losses) / sum(n for _, n in losses) for name, losses in logged.items()}


@pytest.mark.parametrize("clip_all", [False, True])
@pytest.mark.parametrize("batches", [1, 2, 5])
def test_each_stage_moves_its_groups_by_the_gradients_of_its_own_loss(batches, clip_all):
    module = module_of(AlternatingStep(STAGES, clip_all=clip_all), batches)
    watch = fitted(module)
    expected, means = by_hand(batches, clip_all)
    assert len(watch.seen) == len(expected) == EPOCHS * 4
    for found, wanted in zip(watch.seen, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    names = [name for name, _ in module.network.named_parameters()]
    moved = [
        {name for name, a, b in zip(names, *pair, strict=True) if not torch.equal(a, b)}
        for pair in zip(watch.seen, watch.seen[1:], strict=False)
    ]
    assert all(one <= {"left.weight"} for i, one in enumerate(moved) if (i + 1) % 4 in (0, 1))
    assert all(one <= {"right.weight", "bias"} for i, one in enumerate(moved) if (i + 1) % 4 in (2, 3))
    assert set().union(*moved) == set(names)
    row = module.history[-1]
    assert {name: row[f"train/{name}"] for name in means} == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_no_gradient_outlives_its_window(batches):
    """A stage's last window ends with its pass, and so do the gradients of what it does not train."""
    watch = fitted(module_of(AlternatingStep(STAGES), batches))
    window = [set(), set()] if batches == 1 else [{"left", "right", "bias"}, set()]
    assert watch.left_over == window * EPOCHS * 2


def test_hooks_are_called_in_training_alone_and_for_the_terms_of_a_stage():
    noted = Noted()
    fitted(module_of(AlternatingStep(STAGES), noted=noted))
    data = loader(passes=2)
    expected = []
    for epoch in range(EPOCHS):
        data.sampler.set_epoch(epoch)
        expected += [("epoch", epoch), *((i, b.index.tolist()) for i, b in enumerate(data) if i >= 2)]  # the first stage has not the term
    assert noted.calls == expected
    noted = Noted()
    fitted(module_of(SingleStep(), noted=noted))
    assert [call[0] for call in noted.calls] == ["epoch", 0, 1] * EPOCHS


ALTERNATING = (
    "step=alternating",
    "step.stages=[{groups: [dictionaries], weights: {homogeneous_matching: 1.0}}, {groups: [graph_units, network], weights: null}]",
)


@pytest.mark.parametrize("limit", ["+trainer.limit_train_batches", "+trainer.overfit_batches"])
def test_a_limit_of_batches_is_that_of_each_pass(limit, tiny, tmp_path, no_figures):
    run = train(tiny(tmp_path / "run", *ALTERNATING, f"{limit}=1", "trainer.max_epochs=2")).run_dir
    states = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert [{int(s["step"]) for s in one["state"].values()} for one in states] == [{2}, {2}]
    rows = history(run)
    assert all(float(row["train/total"]) > 0 and float(row["train/stage0_total"]) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("interval", "expected"), [("step", [0.75e-3, 0.5e-3, 0.25e-3, 0.0]), ("epoch", [1e-3, 1e-3, 0.5e-3, 0.5e-3])])
def test_each_stage_has_a_schedule_of_its_own_over_the_whole_training(interval, expected, tiny, tmp_path, no_figures):
    rates = [
        "optimisation/scheduler=warmup_linear",
        "optimisation.scheduler.warmup=0",
        f"optimisation.interval={interval}",
        "optimisation.accumulation.batches=4",  # six batches a pass: two steps, four in two epochs
        "optimisation.group_lr.dictionaries=1.0e-3",
    ]
    seen = {0: [], 1: []}

    def descend(self, loss, which=0, before=MultimodalModule.descend, **options):
        if before(self, loss, which, **options):
            seen[which].append(self.trainer.optimizers[which].param_groups[0]["lr"])
            return True
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultimodalModule, "descend", descend)
        train(tiny(tmp_path / "run", *ALTERNATING, *rates, "trainer.max_epochs=2"))
    assert seen == {0: pytest.approx(expected), 1: pytest.approx(expected)}
