"""MISA against its public code: how its reference files are computed by our network and terms."""

from __future__ import annotations

from torch import Tensor

from dhmd.baselines.misa import Misa, MisaOutputs
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.losses.misa import CentralMomentDiscrepancy, Difference, DomainClassification, Reconstruction
from dhmd.losses.objective import Objective, Term
from dhmd.losses.task import PredictionLoss, TaskLoss
from tests.parity.reference import Found, Reference, gradient_norms, linear_names, load, lstm_names

SYSTEM = "MISA"
MODALITIES = {"vision": "vision", "acoustic": "audio"}
LETTERS = {"language": "t", "vision": "v", "acoustic": "a"}
TERMS = {"task": "task_mse", "difference": "diff", "central_moments": "cmd", "domain": "domain", "reconstruction": "recon"}


def compute(reference: Reference) -> Found:
    """Compute outputs, losses and gradient norms of a file."""
    batch = read_batch(reference)
    network, names = read_network(reference, batch)
    outputs = network(batch)
    terms = read_objective(reference)(outputs, batch)
    terms["total"].backward()
    values = {f"out.{key}": value for key, value in their_outputs(outputs).items()}
    values |= {f"loss.{TERMS.get(key, key)}": value for key, value in terms.items()}
    return Found(values | gradient_norms(network, names), names)


def read_batch(reference: Reference) -> FeatureBatch:
    """Return the inputs; audio and vision have the lengths that the file gives."""
    features = {"language": reference.tensor("in.text_features"), **{m: reference.tensor(f"in.{k}") for m, k in MODALITIES.items()}}
    masks = {"language": reference.tensor("in.text_mask") > 0}
    masks |= {m: reference.mask("in.lengths", features[m].shape[1]) for m in MODALITIES}
    return FeatureBatch(features, masks, label=reference.tensor("in.labels").reshape(-1))


def read_network(reference: Reference, batch: FeatureBatch) -> tuple[Misa, dict[str, str]]:
    """Return our network in training mode with the file's weights, and the reference's name of each of its parameters."""
    config = reference.config
    spec = FeatureSpec({m: x.shape[2] for m, x in batch.features.items()}, {m: x.shape[1] for m, x in batch.features.items()})
    network = Misa(
        spec,
        hidden=config["hidden_size"],
        dropout=config["dropout"],
        feedforward=len(reference.arrays["model.transformer_encoder.layers.0.linear1.weight"]),
        attention_dropout=0.0,
        similarity="cmd" if config["use_cmd_sim"] else "adversarial",
        reversal=config["reverse_grad_weight"],
    )
    names = {f"attention.{name}": f"transformer_encoder.layers.0.{name}" for name, _ in network.attention.named_parameters()}
    names |= linear_names("shared.0", "shared.shared_1")
    names |= linear_names("fusion.0", "fusion.fusion_layer_1") | linear_names("fusion.3", "fusion.fusion_layer_3")
    if network.discriminator is not None:
        names |= linear_names("discriminator.0", "discriminator.discriminator_layer_1")
        names |= linear_names("discriminator.3", "discriminator.discriminator_layer_2")
    for m, x in LETTERS.items():
        names |= linear_names(f"projections.{m}.0", f"project_{x}.project_{x}")
        names |= linear_names(f"projections.{m}.2", f"project_{x}.project_{x}_layer_norm")
        names |= linear_names(f"private.{m}.0", f"private_{x}.private_{x}_{3 if x == 'a' else 1}")
        names |= linear_names(f"reconstructions.{m}", f"recon_{x}.recon_{x}_1")
    for m in MODALITIES:
        names |= lstm_names(f"extractors.{m}.first", f"{LETTERS[m]}rnn1", bidirectional=True)
        names |= lstm_names(f"extractors.{m}.second", f"{LETTERS[m]}rnn2", bidirectional=True)
        names |= linear_names(f"extractors.{m}.norm", f"{LETTERS[m]}layer_norm")
    load(network, reference, names)
    return network.train(), names


def read_objective(reference: Reference) -> Objective:
    """Return our objective with the file's weights."""
    task = TaskLoss(FeatureSpec({"language": 1}, {"language": 1}), "mse")
    ours: dict[str, Term] = {
        "task": PredictionLoss(task),
        "difference": Difference(),
        "central_moments": CentralMomentDiscrepancy(),
        "domain": DomainClassification(),
        "reconstruction": Reconstruction(),
    }
    weights = {name: reference.config["weights"][theirs] for name, theirs in TERMS.items() if theirs in reference.config["weights"]}
    return Objective(task, weights=weights, terms={name: ours[name] for name in weights})


def their_outputs(outputs: MisaOutputs) -> dict[str, Tensor]:
    """Return every output under the public code's name."""
    found = {"M": outputs.prediction}
    for m, x in LETTERS.items():
        found |= {f"utt_{x}_orig": outputs.projected[m], f"utt_{x}_recon": outputs.reconstruction[m]}
        found |= {f"utt_private_{x}": outputs.private[m], f"utt_shared_{x}": outputs.shared[m]}
    return found
