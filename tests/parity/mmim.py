"""MMIM beside MMSA's: one batch in both stages, with the memory of an earlier one."""

from __future__ import annotations

import torch
from torch import Tensor

from dhmd.baselines.mmim import Mmim
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.losses import Objective
from dhmd.losses.mmim import Contrast, Entropy, Likelihood
from dhmd.losses.objective import Term
from dhmd.losses.task import PredictionLoss, TaskLoss

from .reference import Found, Reference, gradient_norms, linear_names, load, lstm_names

SYSTEM = "MMIM"
LETTERS = {"language": "t", "acoustic": "a", "vision": "v"}
PAIRS = {"language_acoustic": "ta", "language_vision": "tv"}
ENCODERS = {"acoustic": "acoustic_enc", "vision": "visual_enc"}


def compute(reference: Reference) -> Found:
    """Run both stages."""
    config = reference.config
    dims = dict(zip(LETTERS, config["feature_dims"], strict=True))  # their order of the fused vectors: text, audio, vision
    batch = _batch(reference)
    network = Mmim(
        FeatureSpec(dims, {m: x.shape[1] for m, x in batch.features.items()}, aligned=config["need_data_aligned"]),
        text_pool="cls",
        hidden={"acoustic": config["d_ah"], "vision": config["d_vh"]},
        width={"acoustic": config["d_aout"], "vision": config["d_vout"]},
        bidirectional=config["bidirectional"],
        fusion_width=config["d_prjh"],
        dropout=config["dropout_prj"],
        add_va=config["add_va"],
        log_variance="linear",
    )
    names = _names(network, config["bidirectional"])
    load(network, reference, names)
    weights = {"task": 1.0, "contrast": config["alpha"], "likelihood": config["beta"], "entropy": config["beta"]}
    task, likelihood, entropy = TaskLoss(network.spec, "l1"), Likelihood(log_term=False), Entropy(ridge=0.0)
    _remember(entropy, reference)
    terms: dict[str, Term] = {"task": PredictionLoss(task), "contrast": Contrast(), "likelihood": likelihood, "entropy": entropy}
    objective = Objective(task, weights=weights, terms=terms)

    outputs = network.train()(batch)
    losses = objective(outputs, batch)
    losses["total"].backward()
    values = gradient_norms(network, names)
    network.zero_grad()
    stage0 = likelihood(network(batch), batch) or {}
    torch.stack(list(stage0.values())).sum().backward()
    values |= gradient_norms(network, names, "gradnorm_stage0.")

    values |= {"out.M": outputs.prediction, "out.Feature_f": outputs.fused}
    values |= {f"out.Feature_{x}": outputs.encoded[m] for m, x in LETTERS.items()}
    for pair, short in PAIRS.items():
        projection = outputs.bounds[pair].projection
        values |= {f"out.pos_{short}": projection[batch.labels > 0], f"out.neg_{short}": projection[batch.labels < 0]}
    values |= {"loss.task": losses["task"], "loss.total": losses["total"], "loss.nce": _sum(losses, "contrast")}
    values |= {"loss.lld": -_sum(losses, "likelihood"), "loss.entropy": -_sum(losses, "entropy")}
    return Found(values, names)


def _batch(reference: Reference) -> FeatureBatch:
    features = {"language": reference.tensor("in.text_features")}
    features |= {m: reference.tensor(f"in.{theirs}") for m, theirs in (("acoustic", "audio"), ("vision", "vision"))}
    masks = {m: reference.mask(f"in.{'audio' if m == 'acoustic' else m}_lengths", features[m].shape[1]) for m in ENCODERS}
    masks["language"] = reference.tensor("in.text_mask") > 0
    return FeatureBatch(features, masks, label=reference.tensor("in.labels").squeeze(1))


def _remember(entropy: Entropy, reference: Reference) -> None:
    """Put the file's memory where that of the second batch of an epoch would be."""
    parts = [[reference.tensor(f"in.mem_{short}_{sign}") for sign in ("pos", "neg")] for short in PAIRS.values()]
    entropy.rows = torch.cat([torch.cat(part) for part in parts], dim=1)
    entropy.labels = torch.cat([torch.full((len(x),), sign) for x, sign in zip(parts[0], (1.0, -1.0), strict=True)])
    entropy.batches = torch.tensor(2)


def _names(network: Mmim, bidirectional: bool) -> dict[str, str]:
    names: dict[str, str] = {}
    for m, theirs in ENCODERS.items():
        names |= lstm_names(f"encoders.{m}.lstm", f"{theirs}.rnn", bidirectional)
        names |= linear_names(f"encoders.{m}.linear", f"{theirs}.linear_1")
    for pair, short in PAIRS.items():
        for ours, theirs in (("mean", "mlp_mu"), ("log_variance", "mlp_logvar")):
            for layer in (0, 2):
                names |= linear_names(f"bounds.{pair}.{ours}.{layer}", f"mi_{short}.{theirs}.{layer}")
        names |= linear_names(f"projections.{pair}.0", f"mi_{short}.entropy_prj.0")
    for m, x in LETTERS.items():
        names |= linear_names(f"guesses.{m}", f"cpc_z{x}.net")
    layers = {"fusion.layers.1": "linear_1", "fusion.layers.3": "linear_2", "fusion.head": "linear_3"}
    for ours, theirs in layers.items():
        names |= linear_names(ours, f"fusion_prj.{theirs}")
    return names


def _sum(losses: dict[str, Tensor], term: str) -> Tensor:
    return torch.stack([value for name, value in losses.items() if name.startswith(f"{term}_")]).sum()
