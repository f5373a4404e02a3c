"""Conversion of the DMD authors' checkpoints: their names and axes to this project's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from dhmd.batch import ACOUSTIC, LANGUAGE, VISION, FeatureSpec
from dhmd.errors import DataError
from dhmd.models.dmd.network import DecoupledDistillation
from dhmd.nn.encoder import Encoders
from dhmd.nn.text import bert_from_weights, bert_sizes

LETTERS = {LANGUAGE: "l", VISION: "v", ACOUSTIC: "a"}
HOMOGENEOUS_PRIOR = {"language->vision": 1.0, "language->acoustic": 1.0}
HETEROGENEOUS_PRIOR = {**HOMOGENEOUS_PRIOR, "vision->acoustic": 1.0}
BERT = "text_model.model."
FIRST_LAYERS = "trans_l_with_a.layers."
Names: TypeAlias = "str | Sequence[Names]"  # an authors' name, or the names of arrays that lie side by side in one array here
HEADS = {50: 10, 30: 6}
"""Attention heads of the authors by width: CMU-MOSI, CMU-MOSEI."""


@dataclass(frozen=True)
class Plan:
    """Options of a network that are read from the arrays of its checkpoint.

    Attributes:
        spec: specification of the features it was trained on; the task is regression.
        options: options of `DecoupledDistillation`, as a configuration writes them.
        bert: sizes of its BERT, as for `dhmd.nn.text.bert_of_sizes`; None without one.
    """

    spec: FeatureSpec
    options: dict[str, Any]
    bert: dict[str, int] | None


def dmd_from_authors(state_dict: Mapping[str, Tensor], n_heads: int = 10) -> DecoupledDistillation:
    """Return a DMD with the weights of the authors' implementation, in the ``dmd_authors`` form, in evaluation mode.

    Every size is read from the arrays' shapes. ``*.version`` and the uninitialised ``*._float_tensor`` are ignored. A BERT
    (``text_model.model.*``) is used if present; batches then need tokens. The two graph distillation units
    (``homo_gd.*``, ``hetero_gd.*``), which the authors do not save, are used if present and absent otherwise.

    Args:
        state_dict: arrays by the authors' names, with or without a leading ``model.``.
        n_heads: number of attention heads, which no shape shows: 10 for CMU-MOSI, 6 or 10 for CMU-MOSEI.

    Raises:
        DataError: a name is missing or left over, shapes contradict each other, or a modality has the common width: its projection,
            which the checkpoint holds, is one that the authors' network leaves out.
    """
    arrays, bert = _sorted_out(state_dict)
    plan = plan_of(state_dict, n_heads)
    try:
        text_encoder = bert_from_weights(bert, plan.spec.lengths[LANGUAGE]) if bert else None
    except ValueError as e:
        raise DataError(f"{BERT}*: {e}") from e
    network = DecoupledDistillation(plan.spec, text_encoder, **plan.options)
    expected = network.state_dict()
    ours: dict[str, Tensor] = {k: v for k, v in expected.items() if k.startswith("text_encoder.")}
    left = set(arrays)
    for our_name, their_names in _names(network):
        ours[our_name] = _value(their_names, arrays, expected[our_name].shape)
        left -= set(_flat(their_names))
    if left:
        raise DataError(f"the authors' checkpoint has arrays that DMD has not: {', '.join(sorted(left)[:5])}")
    network.load_state_dict(ours)
    return network.eval()


def plan_of(state_dict: Mapping[str, Tensor], n_heads: int | None = None) -> Plan:
    """Return the options of a network from a checkpoint of the authors.

    Args:
        state_dict: arrays by the authors' names.
        n_heads: attention heads; None for the authors' number at this width (`HEADS`).

    Raises:
        DataError: a name is missing, the heads are unknown, or they do not divide the width.
    """
    arrays, bert = _sorted_out(state_dict)
    dims, lengths, kernels = {}, {}, {}
    try:
        for m, x in LETTERS.items():
            width, dims[m], kernels[m] = _shape(arrays, f"proj_{x}.weight", 3)
            lengths[m] = _shape(arrays, f"proj1_{x}_low.weight", 2)[1] // width + kernels[m] - 1
        layers = 1 + max((int(k.split(".")[2]) for k in arrays if k.startswith(FIRST_LAYERS)), default=-1)
        if not layers:
            raise KeyError(f"{FIRST_LAYERS}*")
        units = {
            space: _shape(arrays, f"{space}_gd.W_logit.weight", 2)[0] if f"{space}_gd.W_logit.weight" in arrays else None
            for space in ("homo", "hetero")
        }
        sizes = bert_sizes(bert) if bert else None
    except (KeyError, ValueError, IndexError) as e:
        raise DataError(f"the authors' checkpoint lacks {e}") from e
    n_heads = HEADS.get(width) if n_heads is None else n_heads
    if n_heads is None:
        raise DataError(f"the number of attention heads is in no array, and width {width} is none of the authors'; give it (--heads N)")
    if isinstance(n_heads, bool) or not isinstance(n_heads, int):
        raise DataError(f"n_heads: found {n_heads!r}; expected a whole number: the authors use 10 (CMU-MOSI) or 6 (MOSEI)")
    if skipped := [m for m, dim in dims.items() if dim == width]:
        raise DataError(f"the {skipped[0]} features have the common width {width}: the authors' network leaves out their projection")
    if n_heads < 1 or width % n_heads:
        raise DataError(
            f"n_heads={n_heads} does not divide the width {width} of this checkpoint; the authors use 10 (CMU-MOSI) or 6 (MOSEI)"
        )
    prior = {"homo": HOMOGENEOUS_PRIOR, "hetero": HETEROGENEOUS_PRIOR}
    stages = {space: {"distillation": None if g is None else {"width": g, "prior": prior[space]}} for space, g in units.items()}
    return Plan(
        spec=FeatureSpec(
            dims, lengths, aligned=len(set(lengths.values())) == 1, token_length=lengths[LANGUAGE] if sizes is not None else None
        ),
        options={
            "width": width,
            "heads": n_heads,
            "layers": layers,
            "kernels": kernels,
            "source_order": [LANGUAGE, ACOUSTIC, VISION],
            "padding": "authors",
            "causal": True,
            "decoupling": {"private_similarity": "proj_cosine_l.weight" in arrays},
            "homogeneous": stages["homo"],
            "heterogeneous": stages["hetero"],
        },
        bert=sizes,
    )


def _sorted_out(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the network's arrays and BERT's by bare names, without the ignored ones."""
    arrays = _arrays(state_dict)
    if "proj_l.weight" not in arrays:
        some = ", ".join(list(arrays)[:3]) or "none"
        raise DataError(f"these are not the weights of the authors' DMD: proj_l.weight is missing; found {len(arrays)} arrays: {some}, ...")
    bert = {k[len(BERT) :]: arrays.pop(k) for k in list(arrays) if k.startswith(BERT)}
    return arrays, bert


def _arrays(state_dict: Any) -> dict[str, Tensor]:
    """Return the checkpoint's arrays by their bare names, without those that carry no weight."""
    if not isinstance(state_dict, Mapping):
        raise DataError(f"expected a mapping of names to arrays, as the authors save it; found {type(state_dict).__name__}")
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DataError(f"expected names and tensors; found {name!r}: {type(value).__name__}")
    return {_bare(k): v for k, v in state_dict.items() if not k.endswith((".version", "._float_tensor"))}


def _bare(name: str) -> str:
    name = name.removeprefix("module.")
    return name.removeprefix("model.").removeprefix("Model.")


def _shape(arrays: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    if name not in arrays:
        raise DataError(f"the authors' checkpoint lacks {name}")
    shape = tuple(arrays[name].shape)
    if len(shape) != rank or 0 in shape:
        raise DataError(f"{name}: found shape {shape}, expected {rank} axes, none of them empty")
    return shape


def _names(network: DecoupledDistillation) -> Iterator[tuple[str, Names]]:
    """Yield (our name, authors' name) of every array of the network except its text encoder's.

    Encoders that run side by side share one array; for these, the authors' names are in lists with the array's leading axes.
    """
    fixed = {"decoupling.shared.weight": "encoder_c.weight"}
    prefixes = {"shared_gate.linear.": "weight_c."}
    prefixes |= {f"homogeneous.shared_head.{a}.": f"{b}_c." for a, b in _HEAD.items()}
    prefixes |= {f"head.{a}.": f"{b}." for a, b in _HEAD.items()}
    for space, short in (("homogeneous", "homo"), ("heterogeneous", "hetero")):
        prefixes |= {f"{space}.unit.{a}.": f"{short}_gd.{b}." for a, b in _UNIT.items()}
    for m, x in LETTERS.items():
        prefixes |= {
            f"projection.{m}.conv.": f"proj_{x}.",
            f"decoupling.private.{m}.": f"encoder_s_{x}.",
            f"decoupling.decoder.{m}.": f"decoder_{x}.",
            f"decoupling.similarity.{m}.": f"align_c_{x}.",
            f"decoupling.private_similarity.{m}.": f"proj_cosine_{x}.",
            f"gates.{m}.linear.": f"weight_{x}.",
        }
        prefixes |= {f"homogeneous.heads.{m}.{a}.": f"{b}_{x}_low." for a, b in _HEAD.items()}
        prefixes |= {f"heterogeneous.heads.{m}.{a}.": f"{b}_{x}_high." for a, b in _HEAD.items()}
    patterns = {
        "homogeneous.encoder": "self_attentions_c_{}",
        "heterogeneous.attention.cross": "trans_{}_with_{}",
        "heterogeneous.attention.memory": "trans_{}_mem",
    }
    for ours in network.state_dict():
        if ours.startswith("text_encoder."):
            continue
        stack, _, own = ours.rpartition(".")
        if pattern := patterns.get(stack):
            encoders = cast(Encoders, network.get_submodule(stack))
            theirs = [pattern.format(*(LETTERS[m] for m in name.split("_from_"))) for name in encoders.names]
            if last := _ENCODER.get(own):
                yield ours, [f"{n}.{last}" for n in theirs]
            else:
                yield ours, [[f"{n}.layers.{i}.{_LAYER[own]}" for n in theirs] for i in range(encoders.layers)]
        else:
            prefix = next((p for p in prefixes if ours.startswith(p)), "")
            yield ours, fixed.get(ours) or prefixes[prefix] + ours[len(prefix) :]


_HEAD = {"proj1": "proj1", "proj2": "proj2", "out": "out_layer"}
_UNIT = {"logit": "W_logit", "representation": "W_repr", "edge": "W_edge"}
_ENCODER = {"norm_weight": "layer_norm.weight", "norm_bias": "layer_norm.bias"}
_LAYER = {
    f"{ours}_{part}": theirs.format(part)
    for part in ("weight", "bias")
    for ours, theirs in {
        "in_proj": "self_attn.in_proj_{}",
        "out_proj": "self_attn.out_proj.{}",
        "fc1": "fc1.{}",
        "fc2": "fc2.{}",
        "norm_attention": "layer_norms.0.{}",
        "norm_ffn": "layer_norms.1.{}",
    }.items()
}


def _flat(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else [name for part in names for name in _flat(part)]


def _value(names: Names, arrays: Mapping[str, Tensor], shape: torch.Size) -> Tensor:
    """Return the arrays of these names as one array of this shape."""
    if not isinstance(names, str):
        return torch.stack([_value(part, arrays, shape[1:]) for part in names])
    if names not in arrays:
        raise DataError(f"the authors' checkpoint lacks {names}")
    try:
        value = _axes(names, arrays[names])
    except RuntimeError as e:
        raise DataError(f"{names}: found shape {tuple(arrays[names].shape)}; {e}") from e
    if value.shape != shape:
        raise DataError(f"{names}: found shape {tuple(value.shape)}, expected {tuple(shape)}")
    if not value.isfinite().all():
        raise DataError(f"{names}: found NaN or infinite weights; the training that made this checkpoint has diverged")
    return value


def _axes(name: str, array: Tensor) -> Tensor:
    """Convert axes: the authors' pointwise convolutions are linear layers here, and c_m is flattened time first, not channel first."""
    if name.startswith(("encoder_", "decoder_")):
        return array.squeeze(-1)
    if name.startswith("align_c_") and name.endswith("weight"):
        width = array.shape[0]
        return array.reshape(width, width, -1).transpose(1, 2).flatten(1)
    return array
