"""The objective: a weighted sum of terms that may be absent, have several values, parameters and hooks."""

import pytest
import torch
from torch import nn

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.config import instantiate
from dhmd.errors import UsageError
from dhmd.losses import Objective, PredictionLoss, TaskLoss, Term
from dhmd.outputs import Outputs
from objectives import objective_of

SPEC = FeatureSpec({"language": 2}, {"language": 3})
TASK = TaskLoss(SPEC)


def outputs(n=4):
    return Outputs(prediction=torch.linspace(-1, 1, n).unsqueeze(1))


def batch(n=4):
    return FeatureBatch.from_arrays(language=torch.ones(n, 3, 2), label=torch.zeros(n))


def constant(value):
    return lambda o, b: None if value is None else torch.tensor(float(value))


class Counted(nn.Module):
    """A term with a parameter, a buffer and hooks that note their calls."""

    group = "memory"

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.frozen = nn.Parameter(torch.tensor(1.0), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = []

    def forward(self, outputs, batch):
        return self.scale * outputs.prediction.mean()

    def begin_epoch(self, epoch):
        self.calls.append(("epoch", epoch))

    def after_backward(self, outputs, batch, batch_idx):
        self.calls.append(("batch", batch_idx, torch.is_grad_enabled()))
        self.seen += len(batch)


def test_the_total_is_the_weighted_sum_and_terms_are_logged_unweighted():
    objective = Objective(
        TASK, weights={"a": 2.0, "b": 0.5, "c": 0.0}, terms={name: constant(k) for name, k in zip("abc", (1, 4, 9), strict=True)}
    )
    assert objective(outputs(), batch()) == {"a": 1, "b": 4, "c": 9, "total": 4}


def test_a_term_without_its_stage_is_absent():
    objective = Objective(TASK, weights={"a": 2.0, "b": 0.5}, terms={"a": constant(None), "b": constant(4)})
    assert objective(outputs(), batch()) == {"b": 4, "total": 2}


def test_a_term_of_several_values_has_one_weight_and_a_name_a_value():
    objective = Objective(TASK, weights={"a": 0.5}, terms={"a": lambda o, b: {"one": torch.tensor(1.0), "two": torch.tensor(2.0)}})
    assert objective(outputs(), batch()) == {"a_one": 1, "a_two": 2, "total": 1.5}


def test_a_null_term_is_absent_and_needs_no_weight():
    objective = Objective(TASK, weights={"a": 1.0, "b": 1.0}, terms={"a": constant(1), "b": None, "c": None})
    assert objective(outputs(), batch()) == {"a": 1, "total": 1}
    assert objective.weights == {"a": 1.0}


@pytest.mark.parametrize("stage", ["weight", "term"])
def test_a_term_is_taken_away_by_its_weight_or_by_null(stage):
    change = "objective.weights.task_fused=0" if stage == "weight" else "objective.terms.task_fused=null"
    objective = objective_of(SPEC, change, "+objective.terms.other._target_=dhmd.losses.PredictionLoss", "+objective.weights.other=3")
    terms = objective(outputs(), batch())
    torch.testing.assert_close(terms["total"], 3 * outputs().prediction.abs().mean())
    assert ("task_fused" in terms) == (stage == "weight")


def test_a_term_that_weighs_nothing_gives_no_gradient():
    objective = Objective(TASK, weights={"a": 1.0, "counted": 0.0}, terms={"a": PredictionLoss(TASK), "counted": Counted()})
    prediction = torch.tensor([[1.0], [2.0]], requires_grad=True)
    objective(Outputs(prediction), batch(2))["total"].backward()
    assert prediction.grad.tolist() == [[0.5], [0.5]]
    assert objective.terms["counted"].scale.grad is None


def test_weights_given_choose_the_terms():
    called = []
    terms = {name: lambda o, b, name=name: called.append(name) or torch.tensor(1.0) for name in "abc"}
    objective = Objective(TASK, weights=dict.fromkeys("abc", 1.0), terms=terms)
    assert objective(outputs(), batch(), {"c": 2.0, "a": 0.5}) == {"a": 1, "c": 1, "total": 2.5}
    assert called == ["a", "c"]


def test_parameters_are_in_the_group_that_the_term_names():
    named, plain = Counted(), nn.Linear(2, 1)
    plain.forward = lambda o, b: o.prediction.mean()
    objective = Objective(TASK, weights={"named": 1.0, "plain": 1.0}, terms={"named": named, "plain": plain})
    groups = objective.parameter_groups()
    assert {name: [id(p) for p in group] for name, group in groups.items()} == {
        "memory": [id(named.scale)],
        "network": [id(plain.weight), id(plain.bias)],
    }
    assert Objective(TASK, weights={"a": 1.0}, terms={"a": constant(1)}).parameter_groups() == {}


def test_buffers_and_parameters_of_terms_are_in_the_state():
    objective = Objective(TASK, weights={"counted": 1.0}, terms={"counted": Counted()})
    objective.after_backward(outputs(), batch(3), 0)
    again = Objective(TASK, weights={"counted": 1.0}, terms={"counted": Counted()})
    again.load_state_dict(objective.state_dict())
    assert again.terms["counted"].seen == 3
    assert objective.to(torch.float64).terms["counted"].seen.dtype == torch.float64


def test_hooks_are_called_where_there_are_any_without_gradients():
    first, second = Counted(), Counted()
    objective = Objective(TASK, weights=dict.fromkeys("abc", 1.0), terms={"a": first, "b": constant(1), "c": second})
    objective.begin_epoch(3)
    objective.after_backward(outputs(), batch(), 7)
    objective.after_backward(outputs(), batch(), 8, {"b": 1.0, "c": 1.0})
    assert first.calls == [("epoch", 3), ("batch", 7, False)]
    assert second.calls == [("epoch", 3), ("batch", 7, False), ("batch", 8, False)]
    objective(outputs(), batch())
    assert len(first.calls) == 2  # computing a loss tells nobody


def test_a_term_gets_what_its_parameters_ask_for(monkeypatch, tmp_path):
    file = tmp_path / "ext_asking.py"
    file.write_text(
        "class Asking:\n"
        "    def __init__(self, task, network, spec, size=3): self.found = (task, network, spec, size)\n"
        "    def __call__(self, outputs, batch): return outputs.prediction.mean()\n"
    )
    monkeypatch.setenv("DHMD_EXTENSIONS", str(file))
    network = nn.Linear(1, 1)
    own = ("+objective.terms.own._target_=ext_asking.Asking", "+objective.weights.own=1")
    objective = objective_of(SPEC, *own, network=network)
    task, *rest = objective.terms["own"].found
    assert task is objective.task
    assert rest == [network, SPEC, 3]
    assert objective.terms["task_fused"].task is objective.task


@pytest.mark.parametrize(
    ("terms", "weights", "said"),
    [
        ({"own": constant(1)}, {}, "objective.weights.own: not set; each term needs its weight"),
        ({"own": constant(1)}, {"own": 1.0, "other": 1.0}, "objective.weights.other: no such term; expected among own"),
        ({"own": constant(1)}, {"own": "much"}, "objective.weights.own: found 'much'; expected a number"),
        ({"my.term": constant(1)}, {"my.term": 1.0}, "objective.terms.my.term: expected a name of letters, digits and _"),
        ({"total": constant(1)}, {"total": 1.0}, "objective.terms.total: expected a name of letters, digits and _, other than total"),
        ({"own": 3}, {"own": 1.0}, "objective.terms.own: found 3; expected a _target_"),
    ],
)
def test_what_is_no_objective_is_told(terms, weights, said):
    with pytest.raises(UsageError) as caught:
        Objective(TASK, weights=weights, terms=terms)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(4), r"objective.terms.own: gave shape (4,); expected a scalar tensor"),
        (1.0, "objective.terms.own: gave a float; expected a scalar tensor"),
        ({"part": torch.zeros(2, 2)}, "objective.terms.own: gave shape (2, 2)"),
    ],
)
def test_a_term_that_gives_no_scalar_is_told(value, said):
    with pytest.raises(UsageError) as caught:
        Objective(TASK, weights={"own": 1.0}, terms={"own": lambda o, b: value})(outputs(), batch())
    assert said in str(caught.value)


def test_two_terms_with_values_of_one_name_are_told():
    terms = {"a": lambda o, b: {"one": torch.tensor(1.0)}, "a_one": constant(2)}
    with pytest.raises(
        UsageError, match=r"objective\.terms: a and a_one both have a value named a_one; expected a name each; rename a_one"
    ):
        Objective(TASK, weights={"a": 1.0, "a_one": 1.0}, terms=terms)(outputs(), batch())


def test_an_objective_without_any_term_for_the_network_is_told():
    with pytest.raises(UsageError, match=r"objective\.terms: none is about what the network returns"):
        Objective(TASK, weights={"own": 1.0}, terms={"own": constant(None)})(outputs(), batch())


def test_every_term_of_the_suite_is_one():
    objective = objective_of(SPEC)
    assert len(objective.terms) == 16
    assert all(isinstance(term, Term) for term in objective.terms.values())
    assert objective.weights.keys() == objective.terms.keys()


def test_a_loss_of_somebody_elses_package_is_refused():
    with pytest.raises(UsageError, match="is refused"):
        instantiate({"_target_": "torch.nn.MSELoss"}, "objective.terms.own")
