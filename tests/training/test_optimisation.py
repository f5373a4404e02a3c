import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dhmd.errors import UsageError
from dhmd.models.base import undecayed
from dhmd.nn.encoder import Encoders, Rates
from dhmd.training.accumulation import MeanAccumulation, SumAccumulation
from dhmd.training.averages import EpochMeans
from dhmd.training.optimisation import Optimisation
from dhmd.training.schedules import warmup_cosine, warmup_linear
from dhmd.training.seeding import seed_batch
from dhmd.training.validation_loss import RoundedBatchMean, SampleMean


def _parameters(n):
    return [nn.Parameter(torch.zeros(1)) for _ in range(n)]


def test_each_group_has_its_name_and_its_own_rate():
    groups = {"network": _parameters(2), "dictionaries": _parameters(1)}
    adam = Optimisation(lr=1e-4, group_lr={"dictionaries": 1e-3, "network": None}).optimizer(groups)
    assert [(g["name"], g["lr"], len(g["params"])) for g in adam.param_groups] == [("network", 1e-4, 2), ("dictionaries", 1e-3, 1)]
    assert all(g["weight_decay"] == 0 for g in adam.param_groups)


def test_frozen_parameters_are_left_out():
    frozen = _parameters(2)
    for p in frozen:
        p.requires_grad_(False)
    adam = Optimisation().optimizer({"text_encoder": frozen, "network": _parameters(1)})
    assert [g["name"] for g in adam.param_groups] == ["network"]


def plateau(**options):
    return partial(ReduceLROnPlateau, mode="min", **options)


def test_the_schedule_halves_every_group_after_patience_epochs_without_gain():
    optimisation = Optimisation(lr=1.0, group_lr={"dictionaries": 4.0}, scheduler=plateau(factor=0.5, patience=1))
    adam = optimisation.optimizer({"network": _parameters(1), "dictionaries": _parameters(1)})
    schedule = optimisation.scheduler(adam, lambda: 3)
    rates = []
    for loss in (1.0, 1.0, 1.0):
        schedule.step(loss)
        rates.append([g["lr"] for g in adam.param_groups])
    assert rates == [[1.0, 4.0], [1.0, 4.0], [0.5, 2.0]]


def test_an_unknown_group_is_named_and_one_of_another_network_is_passed_over():
    groups = {"network": _parameters(1)}
    for options in ({"group_lr": {"dictionary": 1.0}}, {"group_weight_decay": {"dictionary": 1.0}}, {"no_decay": ["dictionary"]}):
        with pytest.raises(UsageError, match=r"unknown group 'dictionary'; the network has network"):
            Optimisation(**options).check(groups)
    Optimisation(group_lr={"dictionaries": 1.0, "text_encoder": 1.0}).check(groups)


def test_groups_have_their_decay_and_biases_and_norms_none():
    network = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    free = undecayed(network)
    assert free == {id(network[0].bias), id(network[1].weight), id(network[1].bias)}
    groups = {"network": list(network.parameters()), "other": [nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))]}
    optimizer = partial(AdamW, weight_decay=0.1)
    made = Optimisation(no_decay=True, optimizer=optimizer, group_weight_decay={"other": 0.5}).optimizer(groups, free)
    assert isinstance(made, AdamW)
    decays = [(g["name"], len(g["params"]), g["weight_decay"]) for g in made.param_groups]
    assert decays == [("network", 1, 0.1), ("network without decay", 3, 0.0), ("other", 2, 0.5)]
    listed = Optimisation(no_decay=["other"], optimizer=optimizer).optimizer(groups, free)
    assert [g["name"] for g in listed.param_groups] == ["network", "other"]


def test_stacked_norms_of_encoders_have_no_decay():
    encoders = Encoders(("a", "b"), 8, 2, 1, (0.0, 0.0), Rates())
    names = {name for name, p in encoders.named_parameters() if id(p) in undecayed(encoders)}
    assert names == {name for name, _ in encoders.named_parameters() if name.endswith("bias") or name.startswith("norm")}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (partial(warmup_linear, warmup=2), [1 / 3, 2 / 3, 1.0, 0.75, 0.5, 0.25, 0.0]),
        (partial(warmup_linear, warmup=1 / 3, end=0.5), [1 / 3, 2 / 3, 1.0, 0.875, 0.75, 0.625, 0.5]),
        (partial(warmup_cosine, warmup=2), [1 / 3, 2 / 3, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0.0]),
        (partial(warmup_cosine, warmup=0), [(1 + math.cos(math.pi * k / 6)) / 2 for k in range(7)]),
    ],
)
def test_rates_of_a_warm_up(schedule, expected):
    optimisation = Optimisation(lr=2.0, scheduler=schedule)
    adam = optimisation.optimizer({"network": _parameters(1)})
    found = optimisation.scheduler(adam, lambda: 6)
    rates = []
    for _ in expected:
        rates.append(adam.param_groups[0]["lr"] / 2)
        adam.step()
        found.step()
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": plateau(), "interval": "step"}, "optimisation.interval: found step; a plateau"),
        ({"scheduler": partial(warmup_linear, warmup=6)}, "optimisation.scheduler: found a warm-up of 6 in a training of 6"),
        ({"scheduler": plateau(factor=2.0)}, "optimisation.scheduler: "),
    ],
)
def test_schedules_that_cannot_be(options, message):
    optimisation = Optimisation(**options)
    adam = optimisation.optimizer({"network": _parameters(1)})
    with pytest.raises(UsageError) as caught:
        optimisation.scheduler(adam, lambda: 6)
    assert message in str(caught.value)


def test_an_optimizer_that_refuses_its_options_is_told():
    with pytest.raises(UsageError, match=r"optimisation.optimizer: .*betas|optimisation.optimizer: "):
        Optimisation(optimizer=partial(Adam, betas=(2.0, 0.9))).optimizer({"network": _parameters(1)})
    with pytest.raises(UsageError, match="no parameter is trained"):
        Optimisation().optimizer({})


@pytest.mark.parametrize("kind", [MeanAccumulation, SumAccumulation])
def test_gradients_are_clipped_by_their_norm(kind):
    p = nn.Parameter(torch.zeros(2))
    optimizer = SGD([p], lr=1.0)
    accumulation = kind(batches=1, clip_norm=1.0)
    assert accumulation.add((p * torch.tensor([3.0, 4.0])).sum(), lambda loss: loss.backward(), optimizer, last=True)
    torch.testing.assert_close(p.detach(), -torch.tensor([0.6, 0.8]), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="by one of them"):
        kind(clip_norm=1.0, clip_value=1.0)


def test_validation_loss_by_samples_and_by_batches():
    batches = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.00009])]
    by_sample, by_batch = SampleMean(), RoundedBatchMean()
    for loss in (by_sample, by_batch):
        loss.update(torch.tensor([100.0]))
        loss.reset()
        for batch in batches:
            loss.update(batch)
    assert by_sample.compute() == pytest.approx(11.00009 / 4, abs=1e-6)
    assert by_batch.compute() == 3.5  # (2 + 5.00009) / 2 to 4 digits


def test_epoch_means_weigh_batches_by_their_samples_and_survive_a_checkpoint():
    means = EpochMeans()
    means.update({"a": torch.tensor(1.0), "e": torch.tensor([0.0, 3.0])}, 3)
    again = EpochMeans()
    again.restore(means.state())
    for one in (means, again):
        one.update({"a": torch.tensor(5.0), "e": torch.tensor([4.0, 3.0])}, 1)
    assert means.compute()["a"] == again.compute()["a"] == 2.0
    assert again.compute()["e"].tolist() == [1.0, 3.0]
    means.reset()
    assert means.compute() == {}


def test_epoch_means_of_a_value_that_only_some_batches_have_are_over_their_samples():
    means = EpochMeans()
    means.update({"a": torch.tensor(1.0)}, 3)
    means.update({"a": torch.tensor(5.0), "b": torch.tensor(2.0)}, 1)
    means.update({"b": torch.tensor(6.0)}, 3)
    again = EpochMeans()
    again.restore(means.state())
    for one in (means, again):
        assert {name: float(x) for name, x in one.compute().items()} == {"a": 2.0, "b": 5.0}
    two_processes = means.compute(lambda part: 2 * part)
    assert {name: float(x) for name, x in two_processes.items()} == {"a": 2.0, "b": 5.0}


def test_a_batch_is_seeded_by_its_place_alone():
    def draw(*place):
        seed_batch(*place)
        return torch.rand(3).tolist()

    assert draw(7, 2, 5) == draw(7, 2, 5)
    places = [(7, 2, 5), (7, 2, 6), (7, 3, 5), (8, 2, 5), (7, 2, 5, 1)]
    assert len({tuple(draw(*p)) for p in places}) == len(places)
