import pytest
import torch
from torch import nn

from dhmd.errors import UsageError
from dhmd.training.averages import EpochMeans
from dhmd.training.optimisation import Optimisation
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


def test_the_schedule_halves_every_group_after_patience_epochs_without_gain():
    optimisation = Optimisation(lr=1.0, group_lr={"dictionaries": 4.0}, factor=0.5, patience=1)
    adam = optimisation.optimizer({"network": _parameters(1), "dictionaries": _parameters(1)})
    schedule = optimisation.scheduler(adam)
    rates = []
    for loss in (1.0, 1.0, 1.0):
        schedule.step(loss)
        rates.append([g["lr"] for g in adam.param_groups])
    assert rates == [[1.0, 4.0], [1.0, 4.0], [0.5, 2.0]]


def test_an_unknown_group_is_named():
    with pytest.raises(UsageError, match=r"dictionary.*expected some of"):
        Optimisation(group_lr={"dictionary": 1.0})
    with pytest.raises(UsageError, match="heads"):
        Optimisation().optimizer({"heads": _parameters(1)})


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


def test_a_batch_is_seeded_by_its_place_alone():
    def draw(*place):
        seed_batch(*place)
        return torch.rand(3).tolist()

    assert draw(7, 2, 5) == draw(7, 2, 5)
    places = [(7, 2, 5), (7, 2, 6), (7, 3, 5), (8, 2, 5), (7, 2, 5, 1)]
    assert len({tuple(draw(*p)) for p in places}) == len(places)
