"""The task loss: its formulas, weights of classes and label smoothing, and the same mean in training and in validation."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.losses import PredictionLoss, SharedLoss, TaskLoss, UnimodalLoss
from dhmd.models import DecoupledOutputs, Space
from dhmd.outputs import Outputs
from dhmd.training.validation_loss import RoundedBatchMean, SampleMean

DIMS, LENGTHS = {"language": 2}, {"language": 3}
REGRESSION = FeatureSpec(DIMS, LENGTHS)
BINARY = FeatureSpec(DIMS, LENGTHS, "binary")
FOUR = FeatureSpec(DIMS, LENGTHS, "multiclass", n_classes=4)


def drawn(n, classes, seed=0):
    """Logits (n, classes) and labels (n,) in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, classes, generator=generator), torch.arange(n) % max(classes, 2)


def batch(label):
    return FeatureBatch.from_arrays(language=torch.ones(len(label), 3, 2), label=label)


def test_formulas_of_the_tasks():
    label = torch.tensor([0.0, 1.0])
    assert TaskLoss(REGRESSION)(torch.tensor([[1.0], [3.0]]), label).item() == 1.5
    assert TaskLoss(REGRESSION, "mse")(torch.tensor([[1.0], [3.0]]), label).item() == 2.5
    logit = torch.tensor([[0.3], [-0.2]])
    expected = -(math.log(1 - 1 / (1 + math.exp(-0.3))) + math.log(1 / (1 + math.exp(0.2)))) / 2
    assert TaskLoss(BINARY)(logit, label).item() == pytest.approx(expected)
    assert TaskLoss(FOUR)(torch.zeros(2, 4), torch.tensor([3, 0])).item() == pytest.approx(math.log(4))
    losses, weights = TaskLoss(REGRESSION).by_sample(logit, label)
    assert losses.tolist() == pytest.approx([0.3, 1.2])
    assert weights is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_that_of_torch(smoothing):
    logits, label = drawn(9, 4)
    expected = F.cross_entropy(logits, label, label_smoothing=smoothing)
    torch.testing.assert_close(TaskLoss(FOUR, label_smoothing=smoothing)(logits, label), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("weights", [None, [0.5, 3.0]])
def test_one_logit_is_two_of_which_the_first_is_zero(smoothing, weights):
    logit, label = drawn(8, 1)
    two = torch.cat([torch.zeros_like(logit), logit], dim=1)
    of_two = TaskLoss(FeatureSpec(DIMS, LENGTHS, "multiclass", n_classes=2), class_weights=weights, label_smoothing=smoothing)
    of_one = TaskLoss(BINARY, class_weights=weights, label_smoothing=smoothing)
    torch.testing.assert_close(of_one(logit, label.float()), of_two(two, label))


def test_class_weights_are_those_of_torch():
    logits, label = drawn(9, 4)
    weights = [0.5, 1.0, 4.0, 0.25]
    expected = F.cross_entropy(logits, label, weight=torch.tensor(weights))  # torch's mean is a weighted one, too
    loss = TaskLoss(FOUR, class_weights=weights)
    torch.testing.assert_close(loss(logits, label), expected)
    assert abs(loss(logits, label) - F.cross_entropy(logits, label)) > 0.01
    losses, found = loss.by_sample(logits, label)
    torch.testing.assert_close(losses, F.cross_entropy(logits, label, reduction="none"))
    assert found.tolist() == torch.tensor(weights)[label].tolist()


def test_with_both_a_samples_smoothed_loss_counts_by_the_weight_of_its_class():
    logits, label = drawn(9, 4)
    weights = torch.tensor([0.5, 1.0, 4.0, 0.25])
    target = F.one_hot(label, 4) * 0.8 + 0.2 / 4
    losses = -(target * logits.log_softmax(dim=-1)).sum(dim=-1)
    expected = (losses * weights[label]).sum() / weights[label].sum()
    torch.testing.assert_close(TaskLoss(FOUR, class_weights=weights.tolist(), label_smoothing=0.2)(logits, label), expected)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.sampled_from([None, [1.0, 2.0, 0.1, 7.0]]), st.sampled_from([0.0, 0.3]))
def test_the_validation_loss_is_the_loss_of_all_samples_at_once_however_they_are_batched(sizes, weights, smoothing):
    logits, label = drawn(sum(sizes), 4, seed=len(sizes))
    loss, validation = TaskLoss(FOUR, class_weights=weights, label_smoothing=smoothing), SampleMean()
    for x, y in zip(logits.split(sizes), label.split(sizes), strict=True):
        validation.update(*loss.by_sample(x, y))
    assert validation.compute() == pytest.approx(float(loss(logits, label)), rel=1e-5)


def test_the_authors_validation_loss_is_the_mean_of_weighted_batch_means():
    logits, label = drawn(7, 4)
    loss, validation = TaskLoss(FOUR, class_weights=[1.0, 2.0, 0.1, 7.0]), RoundedBatchMean()
    for rows in (slice(0, 5), slice(5, 7)):
        validation.update(*loss.by_sample(logits[rows], label[rows]))
    expected = (float(loss(logits[:5], label[:5])) + float(loss(logits[5:], label[5:]))) / 2
    assert validation.compute() == round(expected, 4)


def test_weights_move_with_the_module_and_are_not_in_its_state():
    loss = TaskLoss(FOUR, class_weights=[1.0, 2.0, 3.0, 4.0]).to(torch.float64)
    assert loss.weights.dtype == torch.float64
    assert loss.state_dict() == {}
    assert loss.to("meta").weights.is_meta


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (REGRESSION, {"regression": "l2"}, "objective.task.regression: found 'l2'; expected l1 or mse"),
        (REGRESSION, {"class_weights": [1.0]}, "class_weights and label_smoothing are for tasks with classes; data.task is regression"),
        (REGRESSION, {"label_smoothing": 0.1}, "class_weights and label_smoothing are for tasks with classes"),
        (BINARY, {"class_weights": [1.0]}, r"objective.task.class_weights: found [1.0]; expected 2 positive numbers, one a class"),
        (FOUR, {"class_weights": [1.0, 2.0]}, r"objective.task.class_weights: found [1.0, 2.0]; expected 4 positive numbers"),
        (FOUR, {"class_weights": [1.0, 2.0, 0.0, 1.0]}, "expected 4 positive numbers"),
        (FOUR, {"label_smoothing": 1.0}, "objective.task.label_smoothing: found 1.0; expected a number from 0 to below 1"),
        (FOUR, {"label_smoothing": -0.1}, "objective.task.label_smoothing: found -0.1"),
    ],
)
def test_wrong_options_are_told(spec, options, message):
    with pytest.raises(UsageError) as caught:
        TaskLoss(spec, **options)
    assert message in str(caught.value)


def test_each_head_has_the_task_loss():
    x = {name: torch.full((2, 1), float(k)) for k, name in enumerate(("prediction", "shared", "language", "vision"))}
    label, task = torch.zeros(2), TaskLoss(REGRESSION)
    space = Space(sequences=None, pooled={}, logits={"language": x["language"]})
    other = Space(sequences=None, pooled={}, logits={"vision": x["vision"]})
    outputs = DecoupledOutputs(x["prediction"], shared_logits=x["shared"], homogeneous=space, heterogeneous=other)
    data = batch(label)
    assert PredictionLoss(task)(outputs, data) == 0
    assert SharedLoss(task)(outputs, data) == 1
    assert UnimodalLoss(task, "homogeneous")(outputs, data) == {"language": 2}
    assert UnimodalLoss(task, "heterogeneous")(outputs, data) == {"vision": 3}
    assert UnimodalLoss(task)(outputs, data) == {"homogeneous_language": 2, "heterogeneous_vision": 3}
    flat = Outputs(x["prediction"], unimodal={"language": x["vision"]})
    assert UnimodalLoss(task)(flat, data) == {"language": 3}
    assert UnimodalLoss(task, "homogeneous")(flat, data) is None
    assert SharedLoss(task)(flat, data) is None
    assert UnimodalLoss(task)(Outputs(x["prediction"]), data) is None
