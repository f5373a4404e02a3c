"""Optimizers, parameter groups and schedules as conf/optimisation composes them."""

import math

import pytest
import torch
from torch import nn

from dhmd.app import compose
from dhmd.batch import FeatureSpec
from dhmd.config import instantiate, to_plain
from dhmd.errors import UsageError
from dhmd.models import DecoupledDistillation, TextOnly
from dhmd.training.steps import SingleStep
from objectives import objective_of

SPEC = FeatureSpec({"language": 6, "vision": 5}, {"language": 7, "vision": 7})


def optimisation_of(*overrides):
    return instantiate(to_plain(compose(["run_dir=unused", *overrides]))["optimisation"], "optimisation")


def parameters(n, *shape):
    return [nn.Parameter(torch.ones(shape or 1)) for _ in range(n)]


def network(**options):
    torch.manual_seed(0)
    return DecoupledDistillation(SPEC, width=4, heads=2, layers=1, kernels=3, decoupling={}, **options)


def test_the_default_is_adam_and_a_plateau():
    optimisation = optimisation_of()
    groups = {"network": parameters(2), "dictionaries": parameters(1)}
    optimizer = optimisation.optimizer(groups)
    assert type(optimizer) is torch.optim.Adam
    assert [(g["name"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [("network", 1e-4, 0), ("dictionaries", 1e-3, 0)]
    schedule = optimisation.scheduler(optimizer, lambda: pytest.fail("nobody asked for the length of training"))
    assert type(schedule) is torch.optim.lr_scheduler.ReduceLROnPlateau
    assert (schedule.mode, schedule.factor, schedule.patience) == ("min", 0.5, 5)


@pytest.mark.parametrize(
    ("choice", "kind", "decay"), [("adam", torch.optim.Adam, 0.0), ("adamw", torch.optim.AdamW, 0.01), ("sgd", torch.optim.SGD, 0.0)]
)
def test_each_choice_makes_its_optimizer(choice, kind, decay):
    optimizer = optimisation_of(f"optimisation/optimizer={choice}").optimizer({"network": parameters(1)})
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == decay


def test_a_group_has_its_own_weight_decay():
    optimisation = optimisation_of(
        "optimisation/optimizer=adamw", "+optimisation.group_weight_decay={dictionaries: 0.5, graph_units: null}"
    )
    groups = {"network": parameters(1), "graph_units": parameters(1), "dictionaries": parameters(1)}
    found = {g["name"]: g["weight_decay"] for g in optimisation.optimizer(groups).param_groups}
    assert found == {"network": 0.01, "graph_units": 0.01, "dictionaries": 0.5}


@pytest.mark.parametrize("no_decay", [False, True])
def test_decay_that_leaves_out_biases_and_norms(no_decay):
    """Without gradients, AdamW multiplies what decays by 1 - lr * decay."""
    overrides = ["optimisation/optimizer=adamw", "optimisation.lr=0.1", "optimisation.group_lr.dictionaries=null"]
    decays = "+optimisation.group_weight_decay={dictionaries: 0.5}"
    optimisation = optimisation_of(*overrides, decays, f"optimisation.no_decay={str(no_decay).lower()}")
    made = network(homogeneous={"dictionary": {"entries": 8}})
    for p in made.parameters():
        nn.init.ones_(p)
        p.grad = torch.zeros_like(p)
    (optimizer,) = SingleStep().optimizers(made, objective_of(SPEC, network=made), optimisation)
    optimizer.step()
    names = {g["name"] for g in optimizer.param_groups}
    assert ("dictionaries without decay" in names) == no_decay
    for name, p in made.named_parameters():
        apart = no_decay and (name.endswith("bias") or "norm" in name or (".query." in name and p.dim() == 1))
        decay = 0.0 if apart else 0.5 if "dictionary" in name else 0.01
        assert p.flatten()[0].item() == pytest.approx(1 - 0.1 * decay), name


def test_parameters_of_terms_decay_by_the_same_rule():
    made = network(homogeneous={"dictionary": {"entries": 8}}, heterogeneous={"dictionary": {"entries": 8}})
    changes = [f"objective.terms.{space}_matching.loss=infonce" for space in ("homogeneous", "heterogeneous")]
    objective = objective_of(SPEC, *changes, network=made)
    optimisation = optimisation_of("optimisation/optimizer=adamw", "optimisation.no_decay=true")
    (optimizer,) = SingleStep().optimizers(made, objective, optimisation)
    scales = {id(objective.terms[f"{space}_matching"].log_scale) for space in ("homogeneous", "heterogeneous")}
    holding = [g for g in optimizer.param_groups if scales & {id(p) for p in g["params"]}]
    assert [(g["name"], g["weight_decay"], g["lr"]) for g in holding] == [("dictionaries without decay", 0.0, 1e-3)]
    every = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert len(every) == len(set(every)) == len([*made.parameters(), *objective.parameters()])


def test_an_unknown_group_is_told_with_those_of_the_network():
    made = network()
    objective = objective_of(SPEC, network=made)
    for key in ("group_lr", "group_weight_decay"):
        with pytest.raises(UsageError, match=rf"optimisation\.{key}: unknown group 'dictionary'; the network has network$"):
            SingleStep().optimizers(made, objective, optimisation_of(f"+optimisation.{key}={{dictionary: 0.1}}"))


def test_a_group_of_another_network_of_the_suite_is_passed_over():
    made = TextOnly(SPEC)
    optimisation = optimisation_of("optimisation.group_lr={dictionaries: 1e-3, graph_units: 1e-2, text_encoder: 1e-5}")
    (optimizer,) = SingleStep().optimizers(made, objective_of(SPEC, network=made), optimisation)
    assert [(g["name"], g["lr"]) for g in optimizer.param_groups] == [("network", 1e-4)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimisation.lr=-1"], "optimisation.lr: found -1; expected a number, 0 or more"),
        (["optimisation.group_lr.dictionaries=fast"], "optimisation.group_lr.dictionaries: found 'fast'; expected a number, 0 or more"),
        (["+optimisation.group_weight_decay.network=-0.1"], "optimisation.group_weight_decay.network: found -0.1"),
        (["optimisation.interval=batch"], "optimisation.interval: found 'batch', expected epoch or step"),
        (["optimisation.optimizer.weight_decay=-1"], "optimisation.optimizer: Invalid weight_decay value: -1"),
        (["+optimisation.optimizer.momentum=0.9"], "torch.optim.Adam: got an unexpected keyword argument 'momentum'"),
        (["optimisation.optimizer._target_=torch.optim.Adamm"], "'torch.optim.Adamm' at optimisation.optimizer is refused"),
        (["optimisation.accumulation.clip_norm=1.0"], "clip_value=0.6 and clip_norm=1.0: gradients are clipped by one of them"),
        (["optimisation.accumulation.clip_value=0"], "clip_value: found 0, expected a positive number, or null"),
        (["+optimisation.patience=3"], "dhmd.training.optimisation.Optimisation: got an unexpected keyword argument 'patience'"),
    ],
)
def test_wrong_options_are_told(overrides, message):
    with pytest.raises(UsageError) as caught:
        optimisation_of(*overrides).optimizer({"network": parameters(1)})
    assert message in str(caught.value)


OWN = """
import torch

class Sign(torch.optim.Optimizer):
    def __init__(self, params, lr=1.0, scale=1.0):
        super().__init__(params, {"lr": lr, "scale": scale})
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * group["scale"] * p.grad.sign())

def halved(optimizer, total, after=1):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1.0 if k < after else total / 1000)
"""


def test_an_optimizer_and_a_schedule_of_ones_own(tmp_path, monkeypatch):
    file = tmp_path / "ext_optimizer.py"
    file.write_text(OWN)
    own = [
        "~optimisation/optimizer",
        "~optimisation/scheduler",
        "+optimisation.optimizer={_target_: ext_optimizer.Sign, _partial_: true, scale: 3}",
        "+optimisation.scheduler={_target_: ext_optimizer.halved, _partial_: true, after: 2}",
        "optimisation.lr=0.5",
    ]
    monkeypatch.setenv("DHMD_EXTENSIONS", str(file))
    optimisation = optimisation_of(*own)
    (p,) = parameters(1)
    optimizer = optimisation.optimizer({"network": [p]})
    schedule = optimisation.scheduler(optimizer, lambda: 500)
    found = []
    for _ in range(3):
        p.grad = torch.tensor([-7.0])
        before = p.item()
        optimizer.step()
        schedule.step()
        found.append(p.item() - before)
    assert found == [1.5, 1.5, 0.75]


def warmed(k, total, rise, end, kind):
    """The share of the rate in step k, written out."""
    if k < rise:
        return (k + 1) / (rise + 1)
    done = (k - rise) / (total - rise)
    share = (1 + math.cos(math.pi * done)) / 2 if kind == "cosine" else 1 - done
    return end + (1 - end) * share


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize(("warmup", "rise"), [(3, 3), (0.1, 2), (0, 0)])
@pytest.mark.parametrize("end", [0.0, 0.2])
def test_rates_rise_and_fall(kind, warmup, rise, end):
    chosen = [f"optimisation/scheduler=warmup_{kind}", f"optimisation.scheduler.warmup={warmup}", f"optimisation.scheduler.end={end}"]
    optimisation = optimisation_of("optimisation/optimizer=adamw", *chosen, "optimisation.lr=2.0", "optimisation.group_lr.dictionaries=8.0")
    optimizer = optimisation.optimizer({"network": parameters(1), "dictionaries": parameters(1)})
    schedule = optimisation.scheduler(optimizer, lambda: 20)
    for k in range(23):
        expected = warmed(min(k, 20), 20, rise, end, kind)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([2 * expected, 8 * expected]), k
        optimizer.step()
        schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([2 * end, 8 * end])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("warmup=20", "optimisation.scheduler: found a warm-up of 20 in a training of 20; expected a shorter one"),
        ("warmup=-1", "optimisation.scheduler: found warmup=-1 and end=0.0"),
        ("end=1.5", "optimisation.scheduler: found warmup=0.1 and end=1.5; expected a warmup of 0 or more, and an end from 0 to 1"),
    ],
)
def test_a_schedule_that_cannot_be_is_told(options, message):
    optimisation = optimisation_of("optimisation/scheduler=warmup_cosine", f"optimisation.scheduler.{options}")
    with pytest.raises(UsageError) as caught:
        optimisation.scheduler(optimisation.optimizer({"network": parameters(1)}), lambda: 20)
    assert message in str(caught.value)


def test_without_a_schedule_rates_are_constant():
    optimisation = optimisation_of("optimisation/scheduler=none")
    assert optimisation.scheduler(optimisation.optimizer({"network": parameters(1)}), lambda: 20) is None
