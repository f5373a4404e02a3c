"""DMD beside the code of its authors, both graph distillation units included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from dhmd.batch import FeatureBatch
from dhmd.interop.dmd import LETTERS, Names, _names, dmd_from_authors
from dhmd.losses import (
    Cycle,
    LogitDistillation,
    Margin,
    Objective,
    Orthogonality,
    PredictionLoss,
    Reconstruction,
    Regularity,
    RepresentationDistillation,
    SharedLoss,
    TaskLoss,
    UnimodalLoss,
)
from dhmd.models import DecoupledDistillation, DecoupledOutputs
from tests.parity.dialect import Dialect, Limits
from tests.parity.reference import Found, Reference

SYSTEM = "DMD"
UNITS = {"homogeneous": "homo_gd.", "heterogeneous": "hetero_gd."}
SHORT = {"homogeneous": "homo", "heterogeneous": "hetero"}
INPUTS = {"language": "text", "vision": "vision", "acoustic": "audio"}
TERMS = {
    "task_fused": ("task_fused", 1.0),
    "task_shared": ("task_common", 1.0),
    "reconstruction": ("recon", 0.1),
    "cycle": ("cycle", 0.1),
    "orthogonality": ("ortho_batchdim", 0.01),
    "orthogonality_features": ("ortho_featuredim", 0.0),
    "margin": ("margin", 0.01),
    "homogeneous_regularity": ("gd_homo_reg", 0.05),
    "homogeneous_logit": ("gd_homo_logit", 0.05),
    "homogeneous_representation": ("gd_homo_repr", 0.0),
    "heterogeneous_regularity": ("gd_hetero_reg", 0.05),
    "heterogeneous_logit": ("gd_hetero_logit", 0.05),
    "heterogeneous_representation": ("gd_hetero_repr", 0.05),
}
"""Their name and their weight of each term but the unimodal heads', which have weight 1."""


def _system(reference: Reference) -> str | None:
    return SYSTEM if any(key.startswith(UNITS["homogeneous"]) for key in reference.arrays) else None


DIALECT = Dialect(
    _system,
    weights={prefix: prefix for prefix in ("model.", *UNITS.values())},
    outputs=("out.*", "edges_*", "gd_prior_*"),
    limits=Limits(outputs=1e-5, zero_gradient=1e-8, special={"loss.total": 1e-4}),
    no_weights=("*.version", "*._float_tensor"),
)
"""Names of weights and gradient norms tell the network (``model.``) from the two units (``homo_gd.``, ``hetero_gd.``)."""


def compute(reference: Reference) -> Found:
    """Compute outputs, edges, losses and gradient norms of a file."""
    weights = {key: x for prefix in DIALECT.weights for key, x in _with_prefix(reference, prefix)}
    network = dmd_from_authors(weights, n_heads=reference.config["n_heads"]).train()
    features = {m: reference.tensor(f"in.{key}") for m, key in INPUTS.items()}
    batch = FeatureBatch.from_arrays(**features, label=reference.tensor("in.label"))
    outputs = network(batch)
    terms = _objective(network)(outputs, batch)
    terms["total"].backward()
    parts = list(_parts(network))
    values = {f"out.{key}": value for key, value in _outputs(outputs).items()} | _edges(outputs)
    values |= {f"loss.{_loss_name(key)}": value for key, value in terms.items()}
    values |= {f"gradnorm.{theirs}": gradient.norm() for _, theirs, gradient in parts if gradient is not None}
    return Found(values, {ours: theirs for ours, theirs, _ in parts})


def _with_prefix(reference: Reference, prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((prefix + name, x) for name, x in reference.under(prefix).items())


def _objective(network: DecoupledDistillation) -> Objective:
    """Return the authors' objective, and beside it the orthogonality over features."""
    task = TaskLoss(network.spec, "l1")
    terms: dict[str, Any] = {
        "task_fused": PredictionLoss(task),
        "task_shared": SharedLoss(task),
        **{f"task_{space}": UnimodalLoss(task, space) for space in UNITS},
        "reconstruction": Reconstruction(),
        "cycle": Cycle(),
        "orthogonality": Orthogonality("batch"),
        "orthogonality_features": Orthogonality("features"),
        "margin": Margin(network.spec),
        **{f"{space}_regularity": Regularity(space) for space in UNITS},
        **{f"{space}_logit": LogitDistillation(space) for space in UNITS},
        "homogeneous_representation": RepresentationDistillation("homogeneous", "imitate"),
        "heterogeneous_representation": RepresentationDistillation("heterogeneous", "repel_mean"),
    }
    return Objective(task, weights={name: TERMS[name][1] if name in TERMS else 1.0 for name in terms}, terms=terms)


def _loss_name(ours: str) -> str:
    """Return the authors' name of a loss, for example ``task_l_homo`` of ``task_homogeneous_language``."""
    if ours == "total":
        return ours
    if ours in TERMS:
        return TERMS[ours][0]
    _, space, modality = ours.split("_")
    return f"task_{LETTERS[modality]}_{SHORT[space]}"


def _outputs(outputs: DecoupledOutputs) -> dict[str, Tensor]:
    """Return every output under the authors' name, on the authors' axes."""
    d, spaces = outputs.decoupled, outputs.spaces
    assert d is not None  # the authors' network has every stage
    found: dict[str, Any] = {"output_logit": outputs.prediction, "logits_c": outputs.shared_logits}
    for m, x in LETTERS.items():
        for space, short in SHORT.items():
            logits, representations = spaces[space].logits, spaces[space].representations
            found |= {f"logits_{x}_{short}": _of(logits, m), f"repr_{x}_{short}": _of(representations, m)}
        found |= {f"last_h_{x}": spaces["heterogeneous"].pooled[m]}
        found |= {f"origin_{x}": d.projected[m].mT, f"recon_{x}": d.reconstruction[m].mT, f"s_{x}_r": d.cycle[m].mT}
        found |= {f"s_{x}": d.private[m].transpose(0, 1), f"c_{x}": d.shared[m].transpose(0, 1)}
        found |= {f"c_{x}_sim": d.similarity[m], f"proj_s_{x}": _of(d.private_similarity, m)}
    return found


def _of(values: Mapping[str, Tensor] | None, modality: str) -> Tensor | None:
    return None if values is None else values[modality]


def _edges(outputs: DecoupledOutputs) -> dict[str, Tensor]:
    """Return weights (E, B) and prior (E,) of both units' edges."""
    found: dict[str, Tensor] = {}
    for space, edges in outputs.edges.items():
        assert edges.weights is not None
        assert edges.prior is not None
        found |= {f"edges_{SHORT[space]}": edges.weights.T, f"gd_prior_{SHORT[space]}": edges.prior}
    return found


def _parts(network: DecoupledDistillation) -> Iterator[tuple[str, str, Tensor | None]]:
    """Yield name, the authors' name and gradient of each weight of theirs; one of ours that holds several is split by its first axes."""
    gradients = {name: p.grad for name, p in network.named_parameters()}
    for ours, theirs in _names(network):
        for place, name, gradient in _split(theirs, gradients[ours]):
            yield ours + place, name if name.startswith(tuple(UNITS.values())) else f"model.{name}", gradient


def _split(theirs: Names, gradient: Tensor | None, place: str = "") -> Iterator[tuple[str, str, Tensor | None]]:
    if isinstance(theirs, str):
        yield place, theirs, gradient
        return
    for i, names in enumerate(theirs):
        yield from _split(names, None if gradient is None else gradient[i], f"{place}[{i}]")
