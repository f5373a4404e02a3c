"""Labels of Self-MM that move: formulas, and what the term keeps."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import dhmd
from dhmd.batch import FeatureSpec
from dhmd.errors import UsageError
from dhmd.losses import Objective
from dhmd.losses.self_mm import MovingLabelLoss, averaged_label, class_centres, generated_label, relative_distance
from dhmd.losses.task import PredictionLoss, TaskLoss
from dhmd.outputs import Outputs

WIDTHS = {"fusion": 5, "language": 4, "acoustic": 3}
MODALITIES = ("language", "acoustic")
N, B, EPOCHS = 13, 5, 4  # the last batch of an epoch is smaller


@dataclass(frozen=True)
class Made(Outputs):
    fused_feature: torch.Tensor | None = None
    unimodal_features: dict = field(default_factory=dict)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fused_width, self.unimodal_widths = WIDTHS["fusion"], {m: WIDTHS[m] for m in MODALITIES}
        self.weight = torch.nn.Linear(2, 2)


def spec(n=N, **other):
    return FeatureSpec(dict.fromkeys(MODALITIES, 2), dict.fromkeys(MODALITIES, 3), sizes={"train": n} if n else {}, **other)


def term(n=N, kind="l1", **options):
    return MovingLabelLoss(spec(n), TaskLoss(spec(n), kind), Network(), **options).double()


LABELS = torch.linspace(-3, 3, N).double().round(decimals=1).roll(4)


def drawn(rows, seed):
    """Outputs and batch of some rows; the features differ from class to class, more so as the seed, the number of the step, grows."""
    generator = torch.Generator().manual_seed(seed)
    label = LABELS[rows]
    shift = 0.1 * seed**0.5 * label.unsqueeze(1)
    features = {m: (torch.randn(len(rows), w, generator=generator).double() + shift).relu() for m, w in WIDTHS.items()}
    made = Made(
        prediction=torch.randn(len(rows), 1, generator=generator).double(),
        unimodal={m: torch.randn(len(rows), 1, generator=generator).double() for m in MODALITIES},
        fused_feature=features["fusion"],
        unimodal_features={m: features[m] for m in MODALITIES},
    )
    x = dhmd.FeatureBatch.from_arrays(**{m: torch.ones(len(rows), 3, 2) for m in MODALITIES}).double()
    return made, replace(x, label=label, index=rows)


def steps():
    """Epoch, number of the step and rows of every batch of a training."""
    for epoch in range(EPOCHS):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for i, rows in enumerate(order.split(B)):
            yield epoch, 10 * epoch + i, rows


def train(moving, to=None, since=0):
    """Train from the since-th to the to-th step and return the losses of each."""
    losses = []
    for k, (epoch, seed, rows) in enumerate(steps()):
        if since <= k and (to is None or k < to):
            if k == since or seed % 10 == 0:
                moving.begin_epoch(epoch)
            outputs, batch = drawn(rows, seed)
            losses.append(moving(outputs, batch))
            moving.after_backward(outputs, batch, seed % 10)
    return losses


class Public:
    """The algorithm of the public trainer, row by row in numpy: all labels known from the start, unseen features 0 and counted."""

    def __init__(self):
        y = LABELS.numpy()
        self.label = {m: y.copy() for m in WIDTHS}
        self.feature = {m: np.zeros((N, w)) for m, w in WIDTHS.items()}
        self.centre = {m: {1: np.zeros(w), -1: np.zeros(w)} for m, w in WIDTHS.items()}

    def loss(self, m, rows, prediction):
        total = 0.0
        for row, p in zip(rows, prediction, strict=True):
            y, y_m = self.label[m][row], self.label["fusion"][row]
            total += math.tanh(abs(y - y_m)) * abs(p - y)
        return total / len(rows)

    def delta(self, m, feature):
        negative, positive = (math.sqrt(sum((feature - self.centre[m][sign]) ** 2)) for sign in (-1, 1))
        return (negative - positive) / (positive + 1e-8)

    def step(self, n, rows, features):
        if n > 1:
            for i, row in enumerate(rows):
                fused = self.delta("fusion", features["fusion"][i])
                for m in MODALITIES:
                    single, y = self.delta(m, features[m][i]), self.label["fusion"][row]
                    new = 0.5 * single / (fused + 1e-8) * y + 0.5 * (y + single - fused)
                    self.label[m][row] = (n - 1) / (n + 1) * self.label[m][row] + 2 / (n + 1) * min(3.0, max(-3.0, new))
        for m in WIDTHS:
            self.feature[m][rows] = features[m]
            self.centre[m] = {s: self.feature[m][np.sign(self.label[m]) == s].mean(axis=0) for s in (1, -1)}


def test_labels_losses_and_centres_are_those_of_the_public_algorithm():
    moving, public = term(limit=3.0, damping=0.0), Public()
    clamped = 0
    for epoch, seed, rows in steps():
        outputs, batch = drawn(rows, seed)
        moving.begin_epoch(epoch)
        for m, loss in moving(outputs, batch).items():
            assert loss.item() == pytest.approx(public.loss(m, rows.numpy(), outputs.unimodal[m].squeeze(1).numpy()), abs=1e-12)
        moving.after_backward(outputs, batch, 0)
        features = {"fusion": outputs.fused_feature, **outputs.unimodal_features}
        public.step(epoch + 1, rows.numpy(), {m: x.numpy() for m, x in features.items()})
        for m in MODALITIES:
            clamped += int((moving.labels_of(batch)[m].abs() == 3).sum())
            np.testing.assert_allclose(moving.labels_of(batch)[m], public.label[m][rows], rtol=0, atol=1e-12)
        if epoch:  # all rows have been seen, so that no feature is 0 for want of any
            for m, state in {"fusion": moving.fused, **moving.heads}.items():
                np.testing.assert_allclose(state.centres, [public.centre[m][1], public.centre[m][-1]], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(moving.fused.labels, LABELS)
    assert any((moving.heads[m].labels - LABELS).abs().max() > 0.5 for m in MODALITIES)


def test_losses_are_zero_until_the_third_epoch():
    losses = train(term())  # a sample's label moves behind its loss of the second
    assert all(loss == 0 for found in losses[:6] for loss in found.values())
    assert all(loss > 0 for found in losses[6:] for loss in found.values())


def test_the_error_is_the_task_losss():
    moving = term(kind="mse")
    train(moving)
    outputs, batch = drawn(torch.arange(4), 99)
    for m, loss in moving(outputs, batch).items():
        y = moving.heads[m].labels[:4]
        expected = ((y - LABELS[:4]).abs().tanh() * (outputs.unimodal[m].squeeze(1) - y) ** 2).mean()
        torch.testing.assert_close(loss, expected)


def test_only_predictions_get_gradients():
    moving = term()
    train(moving)
    outputs, batch = drawn(torch.arange(4), 99)
    leaves = [outputs.fused_feature, *outputs.unimodal_features.values(), *outputs.unimodal.values()]
    for x in leaves:
        x.requires_grad_()
    sum(moving(outputs, batch).values()).backward()
    moving.after_backward(outputs, batch, 0)
    assert [x.grad is not None for x in leaves] == [False, False, False, True, True]
    assert not any(x.requires_grad for x in moving.state_dict().values())


def test_the_state_is_written_by_after_backward_alone():
    moving = term()
    objective = Objective(
        moving.task, weights={"task": 1.0, "unimodal": 1.0}, terms={"task": PredictionLoss(moving.task), "unimodal": moving}
    )
    train(moving, to=5)
    before = {k: x.clone() for k, x in moving.state_dict().items()}
    outputs, batch = drawn(torch.arange(6), 7)
    objective.train()(outputs, batch)
    objective.eval()(outputs, batch)
    assert_same(moving.state_dict(), before)
    moving.after_backward(outputs, batch, 0)
    assert {k for k, x in moving.state_dict().items() if not torch.equal(x, before[k])} == {*before} - {"epoch", "fused.labels"}


def test_in_evaluation_labels_are_the_samples_own():
    moving = term()
    train(moving)
    outputs, batch = drawn(torch.arange(4), 99)
    assert all(loss > 0 for loss in moving(outputs, batch).values())
    batch = replace(batch, index=torch.arange(1000, 1004))  # rows of a larger split
    assert moving.eval()(outputs, batch) == {"language": 0, "acoustic": 0}
    assert moving(outputs, replace(batch, index=None)) == {"language": 0, "acoustic": 0}


@pytest.mark.parametrize("stop", range(1, 12))
def test_training_continues_from_any_batch(stop):
    whole, first, second = term(), term(), term()
    losses = train(whole)
    found = train(first, to=stop)
    second.load_state_dict(first.state_dict())
    for k, (_, seed, rows) in enumerate(steps()):  # the epoch is in the state: nobody tells it again in its middle
        if k >= stop:
            if seed % 10 == 0:
                second.begin_epoch(seed // 10)
            outputs, batch = drawn(rows, seed)
            found.append(second(outputs, batch))
            second.after_backward(outputs, batch, 0)
    assert found == losses
    assert_same(second.state_dict(), whole.state_dict())


def test_the_order_of_samples_in_a_batch_makes_no_difference():
    one, other = term(), term()
    for epoch, seed, rows in steps():
        outputs, batch = drawn(rows, seed)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        mixed = Made(
            outputs.prediction[order],
            {m: x[order] for m, x in outputs.unimodal.items()},
            fused_feature=outputs.fused_feature[order],
            unimodal_features={m: x[order] for m, x in outputs.unimodal_features.items()},
        )
        for moving, made, data in ((one, outputs, batch), (other, mixed, replace(batch, label=batch.label[order], index=rows[order]))):
            moving.begin_epoch(epoch)
            moving.after_backward(made, data, 0)
    assert_same(one.state_dict(), other.state_dict())


def test_rows_that_have_not_been_seen_are_in_no_centre():
    moving = term()
    rows = torch.arange(6)
    outputs, batch = drawn(rows, 1)
    moving.after_backward(outputs, batch, 0)
    for sign, centre in zip((1, -1), moving.fused.centres, strict=True):
        torch.testing.assert_close(centre, outputs.fused_feature[LABELS[rows].sign() == sign].mean(dim=0))
    assert moving.fused.labels[6:].isnan().all()


@pytest.mark.parametrize("sign", [1, -1, 0])
def test_labels_stay_while_a_class_has_no_sample(sign):
    moving = term()
    outputs, batch = drawn(torch.arange(4), 1)
    batch = replace(batch, label=sign * torch.tensor([1.0, 2.0, 3.0, 0.5]).double())
    for epoch in range(3):
        moving.begin_epoch(epoch)
        assert moving(outputs, batch) == {"language": 0, "acoustic": 0}
        moving.after_backward(outputs, batch, 0)
    torch.testing.assert_close(moving.heads["language"].labels[:4], batch.label)


@pytest.mark.parametrize(("limit", "expected"), [(None, 3.0), (1.5, 1.5)])
def test_generated_labels_are_clamped_to_the_limit(limit, expected):
    moving = term(limit=limit, damping=0.0)
    train(moving, to=3)
    rows = (LABELS.abs() < 2).nonzero().squeeze(1)  # the largest label is another batch's
    outputs, batch = drawn(rows, 50)
    far = {m: (1e6 * (m == "language") - moving.heads[m].centres[1]).expand(len(rows), -1) for m in MODALITIES}
    outputs = replace(outputs, unimodal_features=far, fused_feature=moving.fused.centres[:1].expand(len(rows), -1))
    moving.begin_epoch(1)
    old = moving.labels_of(batch)["language"]
    moving.after_backward(outputs, batch, 0)
    generated = (moving.labels_of(batch)["language"] - old / 3) * 1.5  # n = 2
    assert generated.abs().max().item() == pytest.approx(expected)


def test_centres():
    features, labels = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]]), torch.tensor([1.0, 0.5, -2.0, 0.0, torch.nan])
    assert class_centres(features, labels).tolist() == [[1.5], [4.0]]
    assert class_centres(features, labels.abs())[1].isnan().all()


def test_centres_of_a_large_split_have_full_precision_under_autocast():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.rand(20_000, 3, generator=generator), torch.randn(20_000, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = class_centres(features, labels)
    expected = torch.stack([features.double()[labels > 0].mean(dim=0), features.double()[labels < 0].mean(dim=0)])
    assert (found - expected).abs().max() < 1e-5  # 1e-3 in bfloat16


def test_relative_distance_has_no_unit():
    centres, features = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]])
    assert relative_distance(features, centres)[:2].tolist() == pytest.approx([1 / 3, -1 / 4])
    assert relative_distance(7 * features[:2], 7 * centres).tolist() == pytest.approx([1 / 3, -1 / 4])
    assert relative_distance(features, centres).isfinite().all()


values = st.floats(-3, 3)


@given(values, values, st.floats(0.05, 3), st.sampled_from([-1, 1]))
def test_a_small_damping_is_the_public_ratio_away_from_zero(y, delta, fused, sign):
    y, delta, fused = (torch.tensor([x], dtype=torch.double) for x in (y, delta, sign * fused))
    torch.testing.assert_close(generated_label(y, delta, fused, 1e-6), generated_label(y, delta, fused, 0.0), rtol=1e-5, atol=1e-5)


@given(values, values, st.floats(-1, 1), st.floats(0.01, 1))
def test_a_damped_label_is_no_further_than_its_bound(y, delta, fused, damping):
    found = generated_label(*(torch.tensor([x], dtype=torch.double) for x in (y, delta, fused)), damping).item()
    shift = delta - fused
    assert abs(found - (y + shift / 2)) <= abs(shift * y) / (4 * damping) + 1e-12


def test_midway_between_the_fused_centres_only_the_damped_label_is_bounded():
    y, delta = torch.tensor([2.0, 2.0, 2.0]), torch.tensor([0.3, 0.3, 0.3])
    fused = torch.tensor([-1e-6, 0.0, 1e-6])
    assert generated_label(y, delta, fused, 0.1).tolist() == pytest.approx([2.15] * 3, abs=1e-4)
    assert generated_label(y, delta, fused, 0.0).abs().min() > 1e5


@given(values, st.floats(-0.9, 3), st.floats(0, 1))
def test_a_head_that_agrees_with_the_fused_one_keeps_the_label(y, delta, damping):
    y, delta = torch.tensor([y], dtype=torch.double), torch.tensor([delta], dtype=torch.double)
    if damping > 1e-3 or delta.abs() > 1e-3:
        torch.testing.assert_close(generated_label(y, delta, delta, damping), y, rtol=0, atol=1e-4)


def test_momentum_of_labels():
    old, new = torch.tensor([1.0]), torch.tensor([4.0])
    assert [averaged_label(old, new, epoch).item() for epoch in (1, 2, 3)] == pytest.approx([3.0, 2.5, 2.2])


def test_absent_for_a_network_without_such_features():
    made, batch = drawn(torch.arange(4), 1)
    moving = term()
    plain = Outputs(made.prediction, made.unimodal)
    assert moving(plain, batch) is None
    moving.after_backward(plain, batch, 0)
    assert moving.fused.labels.isnan().all()
    MovingLabelLoss(spec(), TaskLoss(spec()), torch.nn.Linear(1, 1))


def test_it_has_buffers_and_no_parameters():
    moving = term()
    assert not list(moving.parameters())
    assert set(moving.state_dict()) == {
        "epoch",
        *(f"{head}.{kind}" for head in ("fused", "heads.language", "heads.acoustic") for kind in ("labels", "features", "centres")),
    }
    assert moving.heads["language"].features.shape == (N, WIDTHS["language"])


def test_a_training_batch_must_tell_its_rows():
    moving = term()
    outputs, batch = drawn(torch.arange(4), 1)
    for call in (moving, lambda *given: moving.after_backward(*given, 0)):
        with pytest.raises(ValueError, match="the batch has no index"):
            call(outputs, replace(batch, index=None))


@pytest.mark.parametrize(
    ("of", "options", "message"),
    [
        (spec(task="binary"), {}, "data.task: found 'binary'; MovingLabelLoss"),
        (spec(task="multiclass", n_classes=3), {}, "data.task: found 'multiclass'; MovingLabelLoss"),
        (spec(None), {}, "no number of training samples"),
        (spec(), {"limit": 0}, "limit: found 0"),
        (spec(), {"damping": -0.1}, "damping: found -0.1"),
        (spec(), {"damping": None}, "damping: found None"),
    ],
)
def test_what_is_refused(of, options, message):
    with pytest.raises(UsageError, match=message):
        MovingLabelLoss(of, TaskLoss(of), Network(), **options)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=0, atol=1e-12, equal_nan=True, msg=name)
