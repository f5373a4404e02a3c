"""The losses of MISA against derivations of their formulas, and what their gradients reach."""

from itertools import combinations

import numpy as np
import pytest
import torch
from misa_tiny import DIMS, batch, network

from dhmd.baselines.misa import MisaOutputs
from dhmd.errors import UsageError
from dhmd.losses.misa import (
    CentralMomentDiscrepancy,
    Difference,
    DomainClassification,
    Reconstruction,
    central_moment_discrepancy,
    difference_loss,
    domain_loss,
)
from dhmd.outputs import Outputs


def test_refused_moments():
    for moments in (0, 2.5, True):
        with pytest.raises(UsageError, match="central moment discrepancy"):
            CentralMomentDiscrepancy(moments)


def numbers(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape))


def test_difference_is_the_mean_squared_correlation_of_columns():
    x, y = numbers(5, 3), numbers(5, 3, seed=1)

    def rows(a):
        a = a.numpy() - a.numpy().mean(axis=0)
        return np.array([row / (np.sqrt((row**2).sum()) + 1e-6) for row in a])

    total = sum(sum(rows(x)[b, i] * rows(y)[b, j] for b in range(5)) ** 2 for i in range(3) for j in range(3))
    assert difference_loss(x, y).item() == pytest.approx(total / 9, rel=1e-12)
    assert difference_loss(x, y).item() == pytest.approx(difference_loss(y, x).item(), rel=1e-12)


def test_difference_has_no_gradient_of_the_norms():
    x, y = numbers(5, 3).requires_grad_(), numbers(5, 3, seed=1)
    difference_loss(x, y).backward()
    found, step = x.grad.clone(), 1e-6
    norms = [torch.linalg.vector_norm(a.detach() - a.detach().mean(0), dim=1, keepdim=True) + 1e-6 for a in (x, y)]

    def fixed(a):
        return (((a - a.mean(0)) / norms[0]).T @ ((y - y.mean(0)) / norms[1])).square().mean().item()

    for i in range(5):
        for j in range(3):
            ahead, behind = x.detach().clone(), x.detach().clone()
            ahead[i, j] += step
            behind[i, j] -= step
            assert found[i, j].item() == pytest.approx((fixed(ahead) - fixed(behind)) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("moments", [1, 2, 5])
def test_central_moment_discrepancy_is_the_sum_over_moments(moments):
    x, y = numbers(7, 3), numbers(4, 3, seed=1)
    a, b = x.numpy(), y.numpy()
    expected = np.sqrt(((a.mean(0) - b.mean(0)) ** 2).sum())
    for k in range(2, moments + 1):
        gap = np.mean([(row - a.mean(0)) ** k for row in a], axis=0) - np.mean([(row - b.mean(0)) ** k for row in b], axis=0)
        expected += np.sqrt((gap**2).sum())
    assert central_moment_discrepancy(x, y, moments).item() == pytest.approx(expected, rel=1e-12)


def test_equal_moments_have_a_finite_gradient():
    x = numbers(6, 3).requires_grad_()
    loss = central_moment_discrepancy(x, x.detach().flip(0))  # the same rows in another order
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert x.grad.isfinite().all()
    y = numbers(6, 3).requires_grad_()
    central_moment_discrepancy(y, y.detach().clone()).backward()
    assert not y.grad.any()
    z = numbers(1, 3).requires_grad_()  # one sample has no central moments
    central_moment_discrepancy(z, numbers(1, 3, seed=1)).backward()
    assert z.grad.isfinite().all()


def test_domain_loss_counts_modalities_in_order():
    logits = {m: numbers(4, 3, seed=i) * 5 for i, m in enumerate(DIMS)}
    expected = np.mean([np.log(np.exp(row).sum()) - row[i] for i, m in enumerate(DIMS) for row in logits[m].numpy()])
    assert domain_loss(logits).item() == pytest.approx(expected, rel=1e-12)


def test_terms_bind_the_formulas_to_pairs():
    data = batch()
    o = network().double()(data.double())
    p, s = list(o.private.values()), list(o.shared.values())
    pairs = [(p[0], s[0]), (p[1], s[1]), (p[2], s[2]), (p[2], p[0]), (p[2], p[1]), (p[0], p[1])]
    assert Difference()(o, data).item() == pytest.approx(sum(difference_loss(a, b).item() for a, b in pairs))
    cmd = [central_moment_discrepancy(a, b).item() for a, b in combinations(s, 2)]
    assert CentralMomentDiscrepancy()(o, data).item() == pytest.approx(sum(cmd) / 3)
    fewer = [central_moment_discrepancy(a, b, 2).item() for a, b in combinations(s, 2)]
    assert CentralMomentDiscrepancy(moments=2)(o, data).item() == pytest.approx(sum(fewer) / 3)
    errors = [np.mean((o.reconstruction[m] - o.projected[m]).detach().numpy() ** 2) for m in DIMS]
    assert Reconstruction()(o, data).item() == pytest.approx(np.mean(errors))
    assert DomainClassification()(o, data) is None


def test_the_reconstruction_reaches_its_target():
    projected = {m: numbers(4, 6, seed=i).requires_grad_() for i, m in enumerate(DIMS)}
    rebuilt = {m: numbers(4, 6, seed=9 + i) for i, m in enumerate(DIMS)}
    Reconstruction()(MisaOutputs(torch.zeros(4, 1), projected=projected, reconstruction=rebuilt), batch()).backward()
    for m, u in projected.items():
        torch.testing.assert_close(u.grad, 2 * (u.detach() - rebuilt[m]) / (3 * 4 * 6))


def test_the_discriminator_learns_and_the_shared_encoder_learns_the_opposite():
    data, gradients = batch(), {}
    for reversal in (0.0, 1.0, 2.5):
        model = network(similarity="adversarial", reversal=reversal)
        DomainClassification()(model(data), data).backward()
        gradients[reversal] = model.shared[0].weight.grad, model.discriminator[0].weight.grad
    assert not gradients[0.0][0].any()
    torch.testing.assert_close(gradients[2.5][0], 2.5 * gradients[1.0][0])
    torch.testing.assert_close(gradients[2.5][1], gradients[0.0][1])
    assert gradients[1.0][1].abs().max() > 0

    model = network(similarity="adversarial", reversal=1.0)  # with the discriminator held, a step along -gradient makes it worse
    before = DomainClassification()(model(data), data)
    before.backward()
    with torch.no_grad():
        model.shared[0].weight -= 0.1 * model.shared[0].weight.grad
    assert DomainClassification()(model(data), data) > before


def test_terms_are_absent_for_other_outputs():
    plain = Outputs(torch.zeros(4, 1))
    for term in (Difference(), CentralMomentDiscrepancy(), Reconstruction(), DomainClassification()):
        assert term(plain, batch()) is None
    adversarial = network(similarity="adversarial")(batch())
    assert CentralMomentDiscrepancy()(adversarial, batch()) is None
