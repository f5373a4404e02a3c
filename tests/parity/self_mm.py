"""Self-MM beside MMSA's network and trainer; the training split of a file is its one batch."""

from __future__ import annotations

import torch
from torch import Tensor

from dhmd.baselines.self_mm import SelfMM, SelfMMOutputs
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.losses import Objective
from dhmd.losses.self_mm import HeadState, MovingLabelLoss
from dhmd.losses.task import PredictionLoss, TaskLoss

from .reference import Found, Reference, gradient_norms, linear_names, load, lstm_names

SYSTEM = "Self-MM"
NAMES = {"language": "text", "acoustic": "audio", "vision": "vision"}  # in the order of their fused vectors
LAYERS = {"language": "text", "acoustic": "audio", "vision": "video"}
LETTERS = {"language": "t", "acoustic": "a", "vision": "v"}


def compute(reference: Reference) -> Found:
    """Store features and centres as in the first epoch, move labels as in the second and the third, and train on the last ones."""
    batch, network, term, objective = _build(reference)
    names = _names()
    load(network, reference, names)
    network.train()
    objective.train()
    outputs = network(batch)
    values = _outputs(outputs)

    term.begin_epoch(0)
    values |= _losses(objective(outputs, batch), "epoch1_")
    term.after_backward(outputs, batch, 0)
    states = {"fusion": term.fused, **{name: term.get_submodule(f"heads.{m}") for m, name in NAMES.items()}}
    centres = {name: state.centres.clone() for name, state in states.items() if isinstance(state, HeadState)}
    for name, (positive, negative) in centres.items():
        values |= {f"out.center_pos_{name}": positive, f"out.center_neg_{name}": negative}
    for epoch in (1, 2):
        term.begin_epoch(epoch)
        term.after_backward(outputs, batch, 0)
        values |= {f"out.label{epoch + 1}_{NAMES[m]}": label for m, label in term.labels_of(batch).items()}
        for name, state in states.items():  # the file's third epoch has the second's centres
            state.load_state_dict({**state.state_dict(), "centres": centres[name]})

    terms = objective(outputs, batch)
    values |= _losses(terms, "") | {"loss.total": terms["total"]}
    terms["total"].backward()
    return Found(values | gradient_norms(network, names), names)


def _build(reference: Reference) -> tuple[FeatureBatch, SelfMM, MovingLabelLoss, Objective]:
    config = reference.config
    features = {"language": "text_features", "acoustic": "audio", "vision": "vision"}
    lengths = {"language": "text_lengths", "acoustic": "audio_lengths", "vision": "vision_lengths"}
    x = {m: reference.tensor(f"in.{key}") for m, key in features.items()}
    label = reference.tensor("in.labels")
    batch = FeatureBatch(
        features=x,
        masks={m: reference.mask(f"in.{key}", x[m].shape[1]) for m, key in lengths.items()},
        label=label,
        index=torch.arange(len(label)),
    )
    spec = FeatureSpec(
        dims=dict(zip(x, config["feature_dims"], strict=True)),
        lengths={m: sequence.shape[1] for m, sequence in x.items()},
        aligned=config["need_data_aligned"],
        sizes={"train": config["train_samples"]},
    )
    network = SelfMM(
        spec,
        hidden={"acoustic": config["a_lstm_hidden_size"], "vision": config["v_lstm_hidden_size"]},
        width={"acoustic": config["audio_out"], "vision": config["video_out"]},
        fusion_width=config["post_fusion_dim"],
        head_width={m: config[f"post_{name}_dim"] for m, name in LAYERS.items()},
        lstm_dropout={"acoustic": config["a_lstm_dropout"], "vision": config["v_lstm_dropout"]},
        fusion_dropout=config["post_fusion_dropout"],
        head_dropout={m: config[f"post_{name}_dropout"] for m, name in LAYERS.items()},
        text_pool="cls",
        lengths="language",
    )
    task = TaskLoss(spec, "l1")
    term = MovingLabelLoss(spec, task, network, limit=config["H"], damping=0.0)
    objective = Objective(task, weights={"task": 1.0, "unimodal": 1.0}, terms={"task": PredictionLoss(task), "unimodal": term})
    return batch, network, term, objective


def _names() -> dict[str, str]:
    names: dict[str, str] = {}
    for head, name in {"fused_head": "fusion", **{f"heads.{m}": name for m, name in LAYERS.items()}}.items():
        for number, layer in enumerate(("first", "second", "last"), start=1):
            names |= linear_names(f"{head}.{layer}", f"post_{name}_layer_{number}")
    for m in ("acoustic", "vision"):
        names |= lstm_names(f"encoders.{m}.lstm", f"{LAYERS[m]}_model.rnn")
        names |= linear_names(f"encoders.{m}.linear", f"{LAYERS[m]}_model.linear_1")
    return names


def _outputs(outputs: SelfMMOutputs) -> dict[str, Tensor]:
    return {
        "out.M": outputs.prediction,
        "out.Feature_f": outputs.fused_feature,
        **{f"out.{LETTERS[m].upper()}": x for m, x in outputs.unimodal.items()},
        **{f"out.Feature_{LETTERS[m]}": x for m, x in outputs.unimodal_features.items()},
    }


def _losses(terms: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"loss.{prefix}fusion": terms["task"], **{f"loss.{prefix}{name}": terms[f"unimodal_{m}"] for m, name in NAMES.items()}}
