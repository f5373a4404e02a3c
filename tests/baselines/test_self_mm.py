"""Self-MM: the network. Its terms are in test_self_mm_labels.py, the public code's numbers in tests/parity."""

from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import dhmd
from dhmd.baselines.self_mm import SelfMM
from dhmd.batch import FeatureSpec
from dhmd.config import conf_dir
from dhmd.errors import UsageError
from dhmd.losses import Objective
from dhmd.losses.self_mm import MovingLabelLoss
from dhmd.losses.task import PredictionLoss, TaskLoss
from dhmd.nn.text_vector import text_vector

DIMS = {"language": 6, "vision": 5, "acoustic": 4, "gesture": 3}
LENGTHS = {"language": 7, "vision": 7, "acoustic": 7, "gesture": 7}
SETS = [("language", "vision", "acoustic"), ("language", "acoustic"), ("vision",), tuple(DIMS)]


def spec(*modalities, **other):
    names = modalities or SETS[0]
    return FeatureSpec({m: DIMS[m] for m in names}, {m: LENGTHS[m] for m in names}, **{"sizes": {"train": 5}, **other})


def batch(of, frames=(7, 5, 3, 1, 6), seed=0):
    """Random features, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(len(frames), of.lengths[m], of.dims[m], generator=generator) for m in of.modalities}
    for x in features.values():
        for sample, count in zip(x, frames, strict=True):
            sample[count:] = 0
    data = dhmd.FeatureBatch.from_arrays(**features, label=torch.linspace(-2, 2, len(frames)))
    return replace(data, index=torch.arange(len(frames)))


def build(of, seed=0, **options):
    torch.manual_seed(seed)
    return SelfMM(of, **{"hidden": 4, "width": 6, "fusion_width": 8, "head_width": 5, **options})


def objective(of, network):
    task = TaskLoss(of)
    terms = {"task": PredictionLoss(task), "unimodal": MovingLabelLoss(of, task, network)}
    return Objective(task, weights=dict.fromkeys(terms, 1.0), terms=terms)


@pytest.mark.parametrize("modalities", SETS)
def test_a_head_for_the_fused_vector_and_one_a_modality(modalities):
    of = spec(*modalities)
    network = build(of, head_width={"language": 3, "acoustic": 9})
    outputs = network(batch(of))
    assert outputs.prediction.shape == (5, 1)
    assert {m: tuple(x.shape) for m, x in outputs.unimodal.items()} == dict.fromkeys(modalities, (5, 1))
    widths = {"language": 3, "vision": 32, "acoustic": 9, "gesture": 32}
    assert {m: x.shape[1] for m, x in outputs.unimodal_features.items()} == {m: widths[m] for m in modalities} == network.unimodal_widths
    assert outputs.fused_feature.shape == (5, 8) == (5, network.fused_width)
    assert {k for k in outputs.arrays() if k.startswith("embeddings/")} == {f"embeddings/encoded/{m}" for m in modalities}


def test_as_many_parameters_as_the_public_network():
    of = FeatureSpec({"language": 768, "vision": 20, "acoustic": 5}, dict.fromkeys(SETS[0], 50))
    network = SelfMM(of, **preset("self_mm")["model"])
    assert sum(p.numel() for p in network.parameters()) == 159_332


@pytest.mark.parametrize("modality", DIMS)
@pytest.mark.parametrize(("left", "right"), [(9, 0), (0, 9), (4, 5)])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_padding_makes_no_difference(modality, left, right, pool):
    of = spec(*DIMS)
    network, data = build(of, text_pool=pool).eval(), batch(of)
    features, masks = dict(data.features), dict(data.masks)
    features[modality] = torch.nn.functional.pad(features[modality], (0, 0, left, right))
    masks[modality] = torch.nn.functional.pad(masks[modality], (left, right))
    before, after = network(data), network(replace(data, features=features, masks=masks))
    assert not network.reads_padding
    assert (before.fused_feature - after.fused_feature).abs().max() < 1e-6
    for name, x in before.arrays().items():
        assert (x - after.arrays()[name]).abs().max() < 1e-6, name


def test_a_sample_without_frames_is_predicted_from_what_is_left():
    of = spec()
    network, data = build(of).eval(), batch(of)
    features = {m: x.clone() for m, x in data.features.items()}
    features["acoustic"][1] = 0
    found = network(dhmd.FeatureBatch.from_arrays(**features))
    torch.testing.assert_close(found.features["encoded/acoustic"][1], network.encoders["acoustic"].linear.bias)
    torch.testing.assert_close(found.prediction[0], network(data).prediction[0])
    assert found.prediction.isfinite().all()


def test_a_sample_does_not_depend_on_its_batch():
    of = spec()
    network, data = build(of).eval().double(), batch(of).double()
    for i in range(5):
        features, masks = ({m: x[i : i + 1] for m, x in part.items()} for part in (data.features, data.masks))
        torch.testing.assert_close(network(dhmd.FeatureBatch(features, masks)).prediction[0], network(data).prediction[i])


def test_lengths_of_language_count_the_frames_of_aligned_data_from_the_first_stored_one():
    of = spec()
    network, data = build(of, lengths="language").eval(), batch(of)
    features = {m: x.clone() for m, x in data.features.items()}
    features["acoustic"][:, 0] = 0  # a token such as [CLS], to which no sound belongs
    found = network(dhmd.FeatureBatch.from_arrays(**features))
    lstm = torch.nn.LSTM(4, 4, batch_first=True)
    lstm.load_state_dict(network.encoders["acoustic"].lstm.ahead.state_dict())
    lengths = torch.tensor([7, 5, 3, 1, 6])
    packed = torch.nn.utils.rnn.pack_padded_sequence(features["acoustic"], lengths, batch_first=True, enforce_sorted=False)
    expected = network.encoders["acoustic"].linear(lstm(packed)[1][0].squeeze(0))
    torch.testing.assert_close(found.features["encoded/acoustic"], expected)
    assert network.reads_padding
    own = build(of).eval()
    assert (own(dhmd.FeatureBatch.from_arrays(**features)).features["encoded/acoustic"] - expected).abs().max() > 1e-3
    assert not build(spec(aligned=False), lengths="language").reads_padding


def test_text_vectors():
    x = torch.arange(24.0).reshape(3, 4, 2)
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).bool()
    assert text_vector(x, mask, "cls").tolist() == [[0, 1], [10, 11], [0, 0]]
    assert text_vector(x, mask, "mean").tolist() == [[1, 2], [12, 13], [0, 0]]


class Encoder(torch.nn.Module):
    """One embedding a token, wherever it stands."""

    def __init__(self, needs_tokens=True):
        super().__init__()
        self.needs_tokens = needs_tokens
        self.states = torch.nn.Embedding(20, DIMS["language"])

    def encoded(self, given):
        return given

    def forward(self, batch, padding=False):
        features = {**batch.features, "language": self.states(batch.tokens[:, 0])}
        return replace(batch, features=features, masks={**batch.masks, "language": batch.tokens[:, 1] > 0})


@pytest.mark.parametrize(("tokens", "pool"), [(False, "mean"), (True, "cls")])
def test_text_pool_follows_the_text_encoder(tokens, pool):
    assert SelfMM(spec(), Encoder(tokens)).text_pool == pool
    assert SelfMM(spec(), Encoder(tokens), text_pool="mean").text_pool == "mean"
    assert SelfMM(spec(), Encoder(tokens), text_pool="cls").text_pool == "cls"


def test_with_a_text_encoder_language_is_the_state_of_the_first_token():
    network = build(spec(), text_encoder=Encoder())
    ids = torch.arange(20).reshape(5, 4)
    tokens = torch.stack((ids, torch.ones_like(ids), torch.zeros_like(ids)), dim=1)
    outputs = network(replace(batch(spec()), tokens=tokens))
    assert torch.equal(outputs.features["encoded/language"], network.text_encoder.states.weight[ids[:, 0]])
    assert list(network.parameter_groups()) == ["text_encoder", "acoustic", "vision", "network"]


@pytest.mark.parametrize("modalities", SETS)
def test_gradients_reach_every_parameter_once_labels_have_moved(modalities):
    of = spec(*modalities)
    network, data = build(of), batch(of)
    loss = objective(of, network).train()
    for epoch in range(3):
        loss.begin_epoch(epoch)
        outputs = network(data)
        network.zero_grad()
        loss(outputs, data)["total"].backward()
        loss.after_backward(outputs, data, 0)
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("terms", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_precision_is_the_networks(kind, terms):
    of = spec()
    network, data = build(of).to(kind), batch(of).double() if kind == torch.float64 else batch(of)
    loss = objective(of, network).to(terms).train()
    for epoch in range(3):
        loss.begin_epoch(epoch)
        outputs = network(data)
        found = loss(outputs, data)
        loss.after_backward(outputs, data, 0)
    assert outputs.prediction.dtype == kind
    assert all(x.dtype == terms for name, x in loss.terms["unimodal"].state_dict().items() if name != "epoch")
    assert all(x.isfinite() and x > 0 for x in found.values())


def test_parameter_groups():
    network = build(spec(*DIMS))
    groups = network.parameter_groups()
    assert list(groups) == ["acoustic", "vision", "network"]
    assert {id(p) for p in groups["acoustic"]} == {id(p) for p in network.encoders["acoustic"].parameters()}
    assert {id(p) for p in groups["vision"]} == {id(p) for p in network.encoders["vision"].parameters()}
    assert sum(map(len, groups.values())) == len(list(network.parameters()))


def test_it_learns_a_batch():
    of = spec()
    network, data = build(of), batch(of)
    loss = objective(of, network).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    task = []
    for epoch in range(60):
        loss.begin_epoch(epoch)
        outputs = network(data)
        terms = loss(outputs, data)
        optimizer.zero_grad()
        terms["total"].backward()
        loss.after_backward(outputs, data, 0)
        optimizer.step()
        task.append(terms["task"].item())
    assert task[-1] < 0.3 * task[0]


@pytest.mark.slow
@pytest.mark.parametrize("lengths", ["own", "language"])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_it_exports_for_any_batch_size(lengths, pool):
    of = spec()
    network, data = build(of, lengths=lengths, text_pool=pool).eval(), batch(of)

    class ByArrays(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, features, masks):
            return self.network(dhmd.FeatureBatch(features, masks)).arrays()

    size = {m: {0: torch.export.Dim("samples", min=1, max=64)} for m in of.modalities}
    graph = torch.export.export(ByArrays(), (data.features, data.masks), dynamic_shapes=(size, size)).module()
    other = batch(of, frames=(4, 7), seed=1)
    for name, x in graph(other.features, other.masks).items():
        torch.testing.assert_close(x, network(other).arrays()[name], msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": {"acustic": 3}}, "model.hidden: found 'acustic'"),
        ({"width": 0}, "model.width.vision: found 0"),
        ({"fusion_width": 1.5}, "model.fusion_width: found 1.5"),
        ({"head_width": {"language": "wide"}}, "model.head_width.language: found 'wide'"),
        ({"head_dropout": 1.0}, "model.head_dropout.language: found 1.0"),
        ({"fusion_dropout": -0.1}, "model.fusion_dropout: found -0.1"),
        ({"text_pool": "max"}, "model.text_pool: found 'max'"),
        ({"lengths": "text"}, "model.lengths: found 'text'"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        build(spec(), **options)


@pytest.mark.parametrize("aligned", [True, False])
def test_lengths_of_a_language_that_is_not_there_are_refused(aligned):
    with pytest.raises(UsageError, match=r"model\.lengths: found language; the data has vision, acoustic; set model\.lengths=own"):
        build(spec("vision", "acoustic", aligned=aligned), lengths="language")


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classes_are_refused(task):
    with pytest.raises(UsageError, match=f"data.task: found '{task}'; SelfMM .* model=dmd"):
        build(spec(task=task, n_classes=3))


def preset(name):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", overrides=[f"model={name}", "data=mosi_aligned"])
    parts = {key: OmegaConf.to_container(cfg[key]) for key in ("model", "objective", "optimisation", "data")}
    assert parts["model"].pop("_target_") == "dhmd.baselines.SelfMM"
    return parts


@pytest.mark.parametrize(
    ("name", "limit", "damping", "lengths"), [("self_mm", None, 0.1, "own"), ("self_mm_published", 3.0, 0.0, "language")]
)
def test_presets(name, limit, damping, lengths):
    parts = preset(name)
    network = SelfMM(spec(), **parts["model"])
    assert parts["model"]["lengths"] == lengths
    options = parts["objective"]["terms"]["unimodal"]
    assert options.pop("_target_") == "dhmd.losses.self_mm.MovingLabelLoss"
    assert options == {"limit": limit, "damping": damping}
    assert parts["objective"]["task"]["regression"] == "l1"
    assert {"text_encoder", *network.groups} <= {group for group, rate in parts["optimisation"]["group_lr"].items() if rate}
    assert parts["optimisation"]["accumulation"]["batches"] == 4
    MovingLabelLoss(spec(), TaskLoss(spec(), "l1"), network, **options)
