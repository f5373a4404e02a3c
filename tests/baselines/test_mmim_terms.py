"""Terms of MMIM against their formulas, and the entropy's memory."""

import copy
import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dhmd.batch import FeatureBatch
from dhmd.errors import UsageError
from dhmd.losses.mmim import Contrast, Entropy, Likelihood, gaussian_entropy, gaussian_log_likelihood, predictive_contrast
from dhmd.outputs import Outputs

PAIRS = {"language_vision": 2, "language_acoustic": 3}


@dataclass(frozen=True)
class Bound:
    mean: torch.Tensor
    log_variance: torch.Tensor
    target: torch.Tensor
    projection: torch.Tensor


@dataclass(frozen=True)
class Bounded(Outputs):
    bounds: object = None


def drawn(n, seed=0, label=None, dtype=torch.float32):
    """Outputs with the bounds of two pairs, and a batch of n samples, the first of which has label 0."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    bounds = {pair: Bound(draw(n, 5), draw(n, 5), draw(n, 5), draw(n, d).tanh().requires_grad_()) for pair, d in PAIRS.items()}
    label = draw(n) if label is None else torch.tensor(label, dtype=dtype)
    label[0] = 0
    return Bounded(draw(n, 1), bounds=bounds), FeatureBatch.from_arrays(language=draw(n, 2, 3), label=label)


def test_likelihood_is_that_of_a_gaussian():
    outputs, batch = drawn(6)
    found = Likelihood()(outputs, batch)
    for pair, bound in outputs.bounds.items():
        density = torch.distributions.Normal(bound.mean, (bound.log_variance / 2).exp()).log_prob(bound.target)
        expected = -(density + np.log(2 * np.pi) / 2).sum(dim=1).mean()
        torch.testing.assert_close(found[pair], expected)


def test_likelihood_without_its_log_variance_grows_with_the_variance():
    outputs, batch = drawn(6)
    bound = outputs.bounds["language_vision"]
    expected = ((bound.target - bound.mean) ** 2 / (2 * bound.log_variance.exp())).sum(dim=1).mean()
    torch.testing.assert_close(Likelihood(log_term=False)(outputs, batch)["language_vision"], expected)
    wide = bound.log_variance + 50
    assert abs(gaussian_log_likelihood(bound.mean, wide, bound.target, log_term=False)) < 1e-12
    assert gaussian_log_likelihood(bound.mean, wide, bound.target) < -100


def test_contrast_in_a_loop():
    generator = torch.Generator().manual_seed(0)
    x, guess = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    cos = torch.nn.functional.cosine_similarity
    losses = []
    for i in range(5):
        scores = torch.stack([cos(x[i], guess[j], dim=0) for j in range(5)])
        losses.append(scores.exp().sum().log() - scores[i])
    torch.testing.assert_close(predictive_contrast(x, guess), torch.stack(losses).mean())


def entropy_of(x, label):
    """Mean over the two signs of half the log-determinant of the biased covariance."""
    parts = [np.linalg.slogdet(np.cov(x[sign * label > 0].T, bias=True))[1] / 2 for sign in (1, -1)]
    return sum(parts) / 2


def test_entropy_of_a_batch_and_the_one_before():
    term = Entropy(ridge=0.0, first_batch=2)
    first, second, third = (drawn(n, seed, dtype=torch.float64) for n, seed in ((30, 1), (23, 2), (40, 3)))
    term.begin_epoch(0)
    assert term(*first) is None
    for before, now in ((first, second), (second, third)):
        term.after_backward(*before, 0)
        for pair, value in term(*now).items():
            x = np.concatenate([o.bounds[pair].projection.detach().numpy() for o, _ in (before, now)])
            label = np.concatenate([b.label.numpy() for _, b in (before, now)])
            assert (label == 0).sum() == 2
            assert value.item() == pytest.approx(-entropy_of(x, label), rel=1e-10)


def test_the_batch_before_gets_no_gradient():
    term = Entropy(first_batch=1)
    first, second = drawn(12, 1), drawn(12, 2)
    term.begin_epoch(0)
    term.after_backward(*first, 0)
    sum(term(*second).values()).backward()
    for pair in PAIRS:
        assert first[0].bounds[pair].projection.grad is None
        gradient = second[0].bounds[pair].projection.grad
        assert gradient[0].eq(0).all()  # label 0
        assert gradient[1:].ne(0).all()
    assert not term.rows.requires_grad


@pytest.mark.parametrize("labels", [[0.0] * 6, [0.0, 1, 0, 0, 0, 0], [0.0, 1, -1, 2, -2, 3], [1.0] * 6])
@pytest.mark.parametrize("same", [False, True])
def test_small_classes_and_equal_rows_leave_values_and_gradients_finite(labels, same):
    outputs, batch = drawn(6, label=labels)
    if same:
        for bound in outputs.bounds.values():
            bound.projection.data.fill_(1.0)  # a tanh at its end
    term = Entropy(ridge=1e-4, first_batch=1)
    values = term(outputs, batch)
    sum(values.values()).backward()
    for pair, width in PAIRS.items():
        assert torch.isfinite(values[pair])
        assert values[pair] <= -width / 2 * np.log(1e-4) + 1e-4
        gradient = outputs.bounds[pair].projection.grad
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < 1 / (2 * 1e-4**0.5)
    assert not torch.isfinite(Entropy(ridge=0.0, first_batch=1)(outputs, batch)["language_acoustic"])


def test_the_ridge_hardly_moves_a_full_covariance():
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)).double()
    member = torch.ones(400, dtype=torch.bool)
    assert gaussian_entropy(x, member, 1e-4).item() == pytest.approx(gaussian_entropy(x, member, 0.0).item(), abs=3e-4)


def test_the_entropy_is_computed_in_single_precision_at_least():
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    member = torch.ones(9, dtype=torch.bool)
    found = gaussian_entropy(x.bfloat16(), member, 1e-4)
    assert found.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gaussian_entropy(x, member, 1e-4), gaussian_entropy(x, member, 1e-4).float())
        inside = gaussian_entropy(x, member, 1e-4)
    assert torch.equal(inside, gaussian_entropy(x, member, 1e-4))


def test_the_entropy_begins_with_the_third_batch_of_each_epoch():
    term = Entropy()
    for epoch in range(2):
        term.begin_epoch(epoch)
        assert len(term.rows) == len(term.labels) == 0
        there = []
        for i in range(4):
            outputs, batch = drawn(10, i)
            there.append(term(outputs, batch) is not None)
            term.after_backward(outputs, batch, i)
            assert term.rows.shape == (10, 5)
        assert there == [False, False, True, True]


def state(term):
    return {name: x.clone() for name, x in term.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one)


def test_nothing_is_written_but_after_a_backward_pass():
    term = Entropy(first_batch=1)
    term.begin_epoch(0)
    term.after_backward(*drawn(12, 0), 0)
    before = state(term)
    term(*drawn(9, 1))
    term.eval()
    found = term(*drawn(9, 1))
    assert equal(state(term), before)
    fresh = Entropy().eval()(*drawn(9, 1))
    assert all(torch.equal(found[pair], fresh[pair]) for pair in PAIRS), "in evaluation the samples are the batch's alone"
    term.train()
    assert not torch.equal(term(*drawn(9, 1))["language_vision"], found["language_vision"])


def test_a_checkpoint_in_the_middle_of_an_epoch_continues_with_the_same_numbers():
    batches = [drawn(n, i) for i, n in enumerate((12, 11, 10, 14, 9, 13))]
    whole = Entropy()
    whole.begin_epoch(3)
    expected = []
    for i, (outputs, batch) in enumerate(batches):
        expected.append(whole(outputs, batch))
        whole.after_backward(outputs, batch, i)
    for stop in range(1, 6):
        term = Entropy()
        term.begin_epoch(3)
        for i in range(stop):
            term(*batches[i])
            term.after_backward(*batches[i], i)
        file = io.BytesIO()
        torch.save(torch.nn.Sequential(term).state_dict(), file)
        file.seek(0)
        resumed = Entropy()
        torch.nn.Sequential(resumed).load_state_dict(torch.load(file, weights_only=True))
        assert equal(state(resumed), state(term))
        resumed.begin_epoch(3)  # told again of the epoch that it is in
        for i in range(stop, 6):
            found = resumed(*batches[i])
            assert (found is None) == (expected[i] is None)
            assert found is None or all(torch.equal(found[pair], expected[i][pair]) for pair in PAIRS)
            resumed.after_backward(*batches[i], i)
        assert equal(state(resumed), state(whole))
        resumed.begin_epoch(4)
        assert len(resumed.rows) == 0
        assert resumed.batches == 0


def test_a_checkpoint_in_double_precision_keeps_it():
    term = Entropy()
    term.after_backward(*drawn(12, dtype=torch.float64), 0)
    other = Entropy()
    other.load_state_dict(term.state_dict())
    assert equal(state(other), state(term))
    assert other.rows.dtype == torch.float64


def test_a_copy_has_a_memory_of_its_own():
    term = Entropy()
    term.begin_epoch(0)
    other = copy.deepcopy(term)
    term.after_backward(*drawn(12), 0)
    assert len(other.rows) == 0


def test_other_networks_have_none_of_the_terms():
    outputs, batch = Outputs(torch.zeros(3, 1)), drawn(3)[1]
    assert Likelihood()(outputs, batch) is None
    assert Contrast()(outputs, batch) is None
    term = Entropy(first_batch=1)
    assert term(outputs, batch) is None
    before = state(term)
    term.after_backward(outputs, batch, 0)
    assert equal(state(term), before)


@pytest.mark.parametrize("options", [{"ridge": -1e-6}, {"first_batch": 0}])
def test_refused(options):
    with pytest.raises(UsageError, match=rf"objective\.terms\.entropy\.{next(iter(options))}"):
        Entropy(**options)
