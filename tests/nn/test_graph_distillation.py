import math

import pytest
import torch

from dhmd.batch import MODALITIES, edge_pairs
from dhmd.nn.graph_distillation import GraphDistillationUnit, edge_prior

HOMOGENEOUS = {"language->vision": 1.0, "language->acoustic": 1.0}


def inputs(n=5, modalities=MODALITIES):
    return {m: torch.randn(n, 1) for m in modalities}, {m: torch.randn(n, 7) for m in modalities}


def test_edges_are_in_the_authors_order():
    assert [f"{s[0].upper()}<-{t[0].upper()}" for t, s in edge_pairs(MODALITIES)] == ["L<-V", "L<-A", "V<-L", "V<-A", "A<-L", "A<-V"]


def test_prior_is_the_authors():
    """softmax([0, 0, 1, 0, 1, 0] / 0.25): e^4 for the named edges, 1 for the others."""
    total = 2 * math.exp(4) + 4
    expected = torch.tensor([1, 1, math.exp(4), 1, math.exp(4), 1]) / total
    torch.testing.assert_close(edge_prior(MODALITIES, HOMOGENEOUS), expected)


def test_prior_without_a_map_is_uniform_and_a_wrong_name_is_told():
    torch.testing.assert_close(edge_prior(MODALITIES, {}), torch.full((6,), 1 / 6))
    with pytest.raises(ValueError, match=r"no such edge in the prior: text->vision; expected among vision->language"):
        edge_prior(MODALITIES, {"text->vision": 1})


def test_weights_are_one_distribution_over_all_edges_and_distillation_adds_the_prior():
    unit = GraphDistillationUnit(MODALITIES, 1, 7, 4, prior=HOMOGENEOUS)
    found = unit(*inputs())
    torch.testing.assert_close(found.weights.sum(1), torch.ones(5))
    torch.testing.assert_close(found.distillation, found.weights + edge_prior(MODALITIES, HOMOGENEOUS))


def test_score_reads_the_student_first():
    """If W_edge reads only the first quarter, z_student's logit part, an edge's score depends on its student alone."""
    unit = GraphDistillationUnit(MODALITIES, 1, 7, 4, prior=None)
    with torch.no_grad():
        unit.edge.weight.zero_()
        unit.edge.weight[0, :4] = 1
    weights = unit(*inputs()).weights.view(5, 3, 2)
    torch.testing.assert_close(weights[..., 0], weights[..., 1])
    assert (weights[:, 0] != weights[:, 1]).all()


def test_softmax_over_each_students_edges():
    unit = GraphDistillationUnit(MODALITIES, 1, 7, 4, softmax_over="student", prior=HOMOGENEOUS)
    found = unit(*inputs())
    torch.testing.assert_close(found.weights.view(5, 3, 2).sum(-1), torch.ones(5, 3))
    torch.testing.assert_close(found.prior.view(3, 2).sum(-1), torch.ones(3))


def test_prior_off():
    found = GraphDistillationUnit(MODALITIES, 1, 7, 4, prior=None)(*inputs())
    assert found.prior is None
    assert torch.equal(found.distillation, found.weights)


@pytest.mark.parametrize(
    ("edges", "expected"), [("uniform", torch.full((5, 6), 1 / 6)), ("fixed", edge_prior(MODALITIES, HOMOGENEOUS).expand(5, 6))]
)
def test_edges_that_are_not_learned_have_no_parameters(edges, expected):
    unit = GraphDistillationUnit(MODALITIES, 1, 7, 4, edges=edges, prior=HOMOGENEOUS)
    found = unit(*inputs())
    assert found.weights is None
    torch.testing.assert_close(found.distillation, expected)
    assert not list(unit.parameters())


def test_fixed_edges_need_a_prior():
    with pytest.raises(ValueError, match="edges: fixed needs a prior"):
        GraphDistillationUnit(MODALITIES, 1, 7, 4, edges="fixed", prior=None)


def test_the_prior_is_no_part_of_the_state():
    assert not [k for k in GraphDistillationUnit(MODALITIES, 1, 7, 4, prior={}).state_dict() if "prior" in k]


@pytest.mark.parametrize("modalities", [("language", "vision"), ("language", "vision", "acoustic", "gaze")])
def test_other_numbers_of_modalities(modalities):
    found = GraphDistillationUnit(modalities, 1, 7, 4, prior={})(*inputs(modalities=modalities))
    assert found.weights.shape == (5, len(modalities) * (len(modalities) - 1))
