"""Gradients of a linear toy, worked out by hand: loss_b = c_b * w, so the gradient of micro-batch b is c_b."""

import pytest
import torch

from dhmd.training.accumulation import MeanAccumulation, SumAccumulation


class Toy:
    """One weight under plain gradient descent with rate 1: the weight is minus the sum of the steps."""

    def __init__(self, accumulation):
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.optimizer = torch.optim.SGD([self.w], lr=1.0)
        self.accumulation = accumulation
        self.steps = []

    def epoch(self, slopes):
        for i, c in enumerate(slopes):
            before = self.w.item()
            self.accumulation.add(c * self.w, torch.Tensor.backward, self.optimizer, last=i == len(slopes) - 1)
            if self.w.item() != before:
                self.steps.append(round(before - self.w.item(), 6))


def test_mean_divides_by_the_window_and_steps_the_tail_as_its_own_mean():
    toy = Toy(MeanAccumulation(batches=3))
    toy.epoch([0.1, 0.2, 0.6, 0.2, 0.4])
    assert toy.steps == [0.3, 0.3]


def test_mean_clips_once_before_the_step():
    toy = Toy(MeanAccumulation(batches=2, clip_value=0.6))
    toy.epoch([2.0, -1.0, 3.0, 1.0])
    assert toy.steps == [0.5, 0.6]  # (2 - 1) / 2; 4 / 2 clipped


class Pair:
    """Two weights, the first alone in the optimizer; loss_b = a_b * u + b_b * v."""

    def __init__(self, accumulation, together):
        self.u, self.v = (torch.nn.Parameter(torch.zeros(())) for _ in range(2))
        self.optimizer = torch.optim.SGD([self.u], lr=1.0)
        self.accumulation, self.clipped = accumulation, [self.u, self.v] if together else None

    def add(self, a, b, last=False):
        return self.accumulation.add(a * self.u + b * self.v, torch.Tensor.backward, self.optimizer, last, self.clipped)


def test_mean_clips_by_the_norm_of_all_parameters_that_are_clipped_together():
    own, together = (Pair(MeanAccumulation(batches=2, clip_norm=1.0), together) for together in (False, True))
    for toy in (own, together):
        assert not toy.add(3.0, 0.0)
        assert toy.add(3.0, 8.0)
    assert own.u.item() == pytest.approx(-1.0)  # the mean is (3, 4); alone its norm is 3
    assert together.u.item() == pytest.approx(-0.6)  # with the other it is 5
    small = Pair(MeanAccumulation(batches=1, clip_norm=1.0), True)
    assert small.add(0.3, 0.4)
    assert small.u.item() == pytest.approx(-0.3)  # within the norm nothing is scaled


def test_sum_clips_the_norm_of_the_running_sum():
    toy = Pair(SumAccumulation(batches=2, clip_norm=1.0), True)
    assert not toy.add(3.0, 4.0)
    assert (toy.u.grad.item(), toy.v.grad.item()) == pytest.approx((0.6, 0.8))
    assert toy.add(0.0, -0.8)
    assert toy.u.item() == pytest.approx(-0.6)


@pytest.mark.parametrize("kind", [MeanAccumulation, SumAccumulation])
def test_steps_of_a_pass_are_counted_as_they_are_made(kind):
    for batches in (1, 2, 3, 4):
        for n in range(1, 10):
            w = torch.nn.Parameter(torch.zeros(()))
            made, accumulation = 0, kind(batches)
            optimizer = torch.optim.SGD([w], lr=1.0)
            for i in range(n):
                made += accumulation.add(w * 1.0, torch.Tensor.backward, optimizer, last=i == n - 1)
            assert accumulation.steps(n) == made, (batches, n)


def test_sum_clips_the_running_sum_after_each_backward_and_drops_the_tail():
    toy = Toy(SumAccumulation(batches=3, clip_value=0.6))
    toy.epoch([2.0, -1.0, 0.1, 0.5])
    # 2 -> 0.6; 0.6 - 1 = -0.4; -0.4 + 0.1 = -0.3; the fourth is lost
    assert toy.steps == [-0.3]
    toy.epoch([0.1, 0.1, 0.1])  # nothing of the lost one is left
    assert toy.steps == [-0.3, 0.3]


def test_sum_without_clipping_is_the_sum():
    toy = Toy(SumAccumulation(batches=2))
    toy.epoch([1.0, 2.0])
    assert toy.steps == [3.0]


@pytest.mark.parametrize("kind", [MeanAccumulation, SumAccumulation])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_window_taken_up_again_steps_as_if_it_had_not_been_left(kind, stop):
    slopes = [0.5, 0.3, -0.9, 0.2]
    whole = Toy(kind(4, 0.6))
    whole.epoch(slopes)

    first = Toy(kind(4, 0.6))
    for c in slopes[:stop]:
        first.accumulation.add(c * first.w, torch.Tensor.backward, first.optimizer, last=False)
    state = first.accumulation.state([first.w])
    second = Toy(kind(4, 0.6))
    second.accumulation.restore(state, [second.w])
    second.epoch(slopes[stop:])
    assert second.steps == whole.steps != []


def test_a_parameter_without_gradient_stays_without_one_through_a_checkpoint():
    w, unused = (torch.nn.Parameter(torch.zeros(())) for _ in range(2))
    accumulation = MeanAccumulation(2)
    accumulation.add(w * 1.0, torch.Tensor.backward, torch.optim.SGD([w, unused], lr=1.0), last=False)
    state = accumulation.state([w, unused])
    w.grad = None
    accumulation.restore(state, [w, unused])
    assert w.grad == 1.0
    assert unused.grad is None


def test_outside_a_window_no_gradients_are_kept():
    toy = Toy(MeanAccumulation(1))
    toy.epoch([1.0])
    assert toy.accumulation.state([toy.w]) == {"seen": 0, "gradients": []}


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batches: found 0"):
        MeanAccumulation(0)


def test_gradients_are_clipped_in_one_way():
    with pytest.raises(ValueError, match=r"clip_value=0.6 and clip_norm=1.0: gradients are clipped by one of them"):
        MeanAccumulation(1, clip_value=0.6, clip_norm=1.0)
    with pytest.raises(ValueError, match="clip_norm: found -1, expected a positive number"):
        SumAccumulation(1, clip_norm=-1)
