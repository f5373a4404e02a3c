"""MMIM: the network, its parameter groups and what it refuses."""

import inspect
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from dhmd.app import compose
from dhmd.baselines.mmim import Mmim
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.config import to_plain
from dhmd.errors import UsageError
from dhmd.losses import Objective
from dhmd.losses.mmim import Contrast, Entropy, Likelihood
from dhmd.losses.task import PredictionLoss, TaskLoss
from dhmd.outputs import map_samples

DIMS = {"language": 12, "vision": 6, "acoustic": 4}
REAL = (9, 6, 1, 4)


def spec(dims=DIMS, frames=9, **options):
    return FeatureSpec(dims, dict.fromkeys(dims, frames), **options)


def network(data=None, seed=0, **options):
    torch.manual_seed(seed)
    return Mmim(data or spec(), **{"hidden": 5, "width": 8, "fusion_width": 10, "dropout": 0.0, **options})


def batch(dims=DIMS, real=REAL, frames=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(len(real), frames, d, generator=generator) for m, d in dims.items()}
    for i, length in enumerate(real):
        for x in features.values():
            x[i, length:] = 0
    return FeatureBatch.from_arrays(**features, label=torch.linspace(-2, 2.5, len(real)))


def objective(data=None):
    task = TaskLoss(data or spec(), "l1")
    terms = {"task": PredictionLoss(task), "contrast": Contrast(), "likelihood": Likelihood(), "entropy": Entropy(first_batch=1)}
    return Objective(task, weights={"task": 1.0, "contrast": 0.1, "likelihood": 0.1, "entropy": 0.1}, terms=terms)


def tensors(outputs):
    found = []
    map_samples(outputs, found.append)
    return found


def test_parameters_at_the_sizes_of_cmu_mosi():
    data = spec({"language": 768, "vision": 20, "acoustic": 5}, 50)
    assert sum(p.numel() for p in Mmim(data).parameters()) == 281_673  # as MMSA's MMIM without its BERT


def test_shapes():
    out = network()(batch())
    assert out.prediction.shape == (4, 1)
    assert {m: tuple(x.shape) for m, x in out.encoded.items()} == {"language": (4, 12), "vision": (4, 8), "acoustic": (4, 8)}
    assert {m: x.shape for m, x in out.guessed.items()} == {m: x.shape for m, x in out.encoded.items()}
    assert out.fused.shape == (4, 10)
    assert list(out.bounds) == ["language_vision", "language_acoustic"]
    bound = out.bounds["language_acoustic"]
    assert bound.mean.shape == bound.log_variance.shape == bound.target.shape == (4, 8)
    assert bound.projection.shape == (4, 2)
    assert torch.equal(bound.target, out.encoded["acoustic"])
    assert sorted(out.arrays()) == ["embeddings/encoded/acoustic", "embeddings/encoded/language", "embeddings/encoded/vision", "prediction"]
    assert all(len(x) == 4 for x in tensors(out))


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("modality", list(DIMS))
@pytest.mark.parametrize(("left", "right"), [(17, 0), (0, 17), (5, 11)])
def test_padding_makes_no_difference(modality, left, right, pool):
    model, data = network(text_pool=pool).eval(), batch()
    features, masks = dict(data.features), dict(data.masks)
    features[modality] = torch.nn.functional.pad(features[modality], (0, 0, left, right))
    masks[modality] = torch.nn.functional.pad(masks[modality], (left, right))
    features[modality] = torch.where(masks[modality].unsqueeze(-1), features[modality], 7.0)  # whatever it holds
    with torch.no_grad():
        before, after = tensors(model(data)), tensors(model(replace(data, features=features, masks=masks)))
    assert not model.reads_padding
    assert len(before) == len(after) == 16
    for x, y in zip(before, after, strict=True):
        assert (x - y).abs().max() < 1e-6


def test_language_is_one_vector():
    data = batch()
    language = data.features["language"]
    mean = torch.stack([x[:n].mean(dim=0) for x, n in zip(language, REAL, strict=True)])
    torch.testing.assert_close(network()(data).encoded["language"], mean)
    assert torch.equal(network(text_pool="cls")(data).encoded["language"], language[:, 0])
    late = torch.arange(9) >= torch.tensor([0, 3, 8, 2]).unsqueeze(1)
    first = torch.stack([x[i] for x, i in zip(language, (0, 3, 8, 2), strict=True)])
    assert torch.equal(network(text_pool="cls")(replace(data, masks={**data.masks, "language": late})).encoded["language"], first)


def test_lengths_of_the_text_in_aligned_data():
    """The public code reads as many frames from the first on as language has, in aligned data alone."""
    data = batch()
    masks = {**data.masks, "vision": torch.arange(9) >= torch.tensor([2, 0, 3, 1]).unsqueeze(1)}
    expected = network().encoders["vision"](data.features["vision"], data.masks["language"])
    model = network(lengths="language")
    assert model.reads_padding
    assert torch.equal(model(replace(data, masks=masks)).encoded["vision"], expected)
    for other in (network(), network(spec(aligned=False), lengths="language")):
        assert not other.reads_padding
        assert not torch.allclose(other(replace(data, masks=masks)).encoded["vision"], expected)


def test_gradients_reach_every_parameter():
    model, terms = network(), objective()
    assert terms(model(batch()), batch())["total"].backward() is None
    groups = model.parameter_groups()
    assert sorted(groups) == ["mutual_information", "network"]
    assert sum(len(group) for group in groups.values()) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.ne(0).any(), name


@pytest.mark.parametrize("group", ["network", "mutual_information"])
def test_the_likelihood_alone_trains_no_projection(group):
    """The likelihood gives no gradient to the entropy's projections, which public code steps with it: they stay as they were drawn."""
    model = network(entropy_group=group)
    groups = model.parameter_groups()
    projections = {id(p) for p in model.projections.parameters()}
    assert {name for name, parameters in groups.items() if projections & {id(p) for p in parameters}} == {group}
    assert sum(len(parameters) for parameters in groups.values()) == len(list(model.parameters()))
    sum(Likelihood()(model(batch()), batch()).values()).backward()
    assert all(p.grad is None for p in model.projections.parameters())
    assert all(p.grad.ne(0).any() for p in model.bounds.parameters())


def test_weights_are_drawn_by_xavier_and_the_text_encoder_is_left_alone():
    class Encoder(torch.nn.Module):
        needs_tokens = frozen = False

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(12, 12)
            torch.nn.init.constant_(self.layer.weight, 2.0)

        def encoded(self, data):
            return data

        def forward(self, data, padding=False):
            return data

    torch.manual_seed(0)
    encoder = Encoder()
    model = Mmim(spec({"language": 300, "vision": 40, "acoustic": 30}), encoder)
    assert encoder.layer.weight.eq(2).all()
    assert sorted(model.parameter_groups()) == ["mutual_information", "network", "text_encoder"]
    for weight in (model.fusion.layers[1].weight, model.encoders["vision"].lstm.ahead.weight_ih_l0, model.guesses["language"].weight):
        rows, columns = weight.shape
        assert weight.std().item() == pytest.approx((2 / (rows + columns)) ** 0.5, rel=0.1)


def test_log_variance_is_bounded():
    far = batch()
    far = replace(far, features={m: 1e4 * x for m, x in far.features.items()})
    largest = {kind: network(log_variance=kind)(far).bounds["language_vision"].log_variance.abs().max() for kind in ("tanh", "linear")}
    assert largest["tanh"] <= 1 < largest["linear"]


@pytest.mark.parametrize("names", [("language", "vision"), ("acoustic", "language"), ("language", "vision", "acoustic", "gesture")])
def test_other_modalities(names):
    dims = {m: 4 + i for i, m in enumerate(names)}
    out = network(spec(dims))(batch(dims))
    others = [m for m in names if m != "language"]
    assert list(out.bounds) == [f"language_{m}" for m in others]
    assert list(out.guessed) == list(out.encoded) == list(names)


def test_vision_and_acoustic_are_bounded_too():
    model = network(add_va=True, width={"vision": 8, "acoustic": 12})
    bound = model(batch()).bounds["vision_acoustic"]
    assert bound.mean.shape == (4, 12)
    assert bound.projection.shape == (4, 3)
    assert model.bounds["vision_acoustic"].mean[0].in_features == 8


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (spec(task="binary"), {}, "data.task: found binary"),
        (spec(task="multiclass", n_classes=3), {}, "data.task: found multiclass"),
        (spec({"vision": 4, "acoustic": 3}), {}, "data.modalities: found vision, acoustic"),
        (spec({"language": 4}), {}, "use model=text_only"),
        (spec({"language": 4, "vision": 4}), {"add_va": True}, "model.add_va"),
        (spec(), {"width": {"vision": 3}}, "model.width.vision: found 3"),
        (spec(), {"hidden": {"gesture": 3}}, "model.hidden: found 'gesture'"),
        (spec(), {"hidden": 0}, "model.hidden.vision"),
        (spec(), {"fusion_width": 1.5}, "model.fusion_width"),
        (spec(), {"dropout": 1.0}, "model.dropout"),
        (spec(), {"text_pool": "max"}, "model.text_pool"),
        (spec(), {"log_variance": "relu"}, "model.log_variance"),
        (spec(), {"lengths": "text"}, "model.lengths"),
        (spec(), {"entropy_group": "text_encoder"}, "model.entropy_group"),
    ],
)
def test_refused(data, options, said):
    with pytest.raises(UsageError, match=said.replace(".", r"\.")):
        network(data, **options)


def test_double_precision():
    model, data = network().eval(), batch()
    single, double = tensors(model(data)), tensors(model.double()(data.double()))
    assert all(x.dtype == torch.float64 for x in double)
    for x, y in zip(single, double, strict=True):
        torch.testing.assert_close(x.double(), y, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"lengths": "language", "text_pool": "cls", "add_va": True}])
def test_export(options):
    """One graph for any number of samples and real frames; torch fixes an LSTM's padded length."""

    class Deployed(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, features):
            return self.inner(FeatureBatch(features, {m: x.ne(0).any(-1) for m, x in features.items()})).arrays()

    model = network(**options).eval()
    shapes = ({m: {0: torch.export.Dim("batch", min=1, max=64)} for m in DIMS},)
    program = torch.export.export(Deployed(model), (batch().features,), dynamic_shapes=shapes, strict=False).module()
    other = batch(real=(3, 9, 0, 7, 1, 5, 9), seed=1)
    with torch.no_grad():
        found, expected = program(dict(other.features)), model(other).arrays()
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, atol=1e-6, rtol=1e-5)


def alternate(model, terms, data, steps):
    """Train on one batch in two stages, as conf/model/mmim.yaml does."""
    groups = model.parameter_groups()
    first, second = (torch.optim.Adam(groups[name], lr=1e-2) for name in ("mutual_information", "network"))
    for step in range(steps):
        terms.begin_epoch(step)
        first.zero_grad()
        sum(terms.terms["likelihood"](model(data), data).values()).backward()
        first.step()
        model.zero_grad()
        outputs = model(data)
        losses = terms(outputs, data)
        losses["total"].backward()
        second.step()
        terms.after_backward(outputs, data, 0)
    return losses


def test_one_batch_is_learnt_in_two_stages():
    model, terms, data = network(), objective(), batch(real=(9, 6, 3, 4, 8, 7, 5, 9))
    before = {name: x.item() for name, x in terms(model(data), data).items()}
    projections = [p.clone() for p in model.projections.parameters()]
    after = alternate(model, terms, data, 100)
    assert after["task"] < 0.1 * before["task"]
    for name in before.keys() - {"task"}:
        assert after[name] < before[name], name
    assert all(torch.isfinite(x) for x in after.values())
    assert all(not torch.equal(p, old) for p, old in zip(model.projections.parameters(), projections, strict=True))


def configuration(preset):
    """The composed configuration of a preset."""
    return to_plain(compose([f"model={preset}", "run_dir=none"]))


def target(options):
    module, _, name = options.pop("_target_").rpartition(".")
    return getattr(import_module({"dhmd.baselines": "dhmd.baselines.mmim", "dhmd.losses": "dhmd.losses.task"}.get(module, module)), name)


@pytest.mark.parametrize("preset", ["mmim", "mmim_published"])
def test_the_presets_build(preset):
    config = configuration(preset)
    options = config["model"]
    kind = target(options)
    assert {name for name, p in inspect.signature(kind).parameters.items() if p.kind is p.KEYWORD_ONLY} == set(options)
    model = kind(spec(), **options)
    terms = {name: (target(o), o) for name, o in config["objective"]["terms"].items()}
    assert terms.keys() == config["objective"]["weights"].keys()
    task = TaskLoss(spec(), **{k: v for k, v in config["objective"]["task"].items() if k != "_target_"})
    built = {name: kind(task, **o) if kind is PredictionLoss else kind(**o) for name, (kind, o) in terms.items()}
    losses = Objective(task, weights=config["objective"]["weights"], terms=built)
    losses.eval()
    assert torch.isfinite(losses(model(batch()), batch())["task"])
    groups = [name for stage in config["step"]["stages"] for name in stage["groups"]]
    assert sorted(groups) == ["mutual_information", "network", "text_encoder"]
    assert config["optimisation"]["group_lr"]["mutual_information"] == 1e-3
    assert set(config["step"]["stages"][0]["weights"]) <= terms.keys()


def test_the_published_preset_differs_in_what_the_page_names():
    own, published = configuration("mmim"), configuration("mmim_published")
    differing = {"log_variance": "linear", "lengths": "language", "entropy_group": "mutual_information"}
    assert published["model"] == {**own["model"], **differing}
    assert published["optimisation"] == own["optimisation"]
    assert (own["step"]["clip_all"], published["step"]["clip_all"]) == (False, True)
    terms = published["objective"]["terms"]
    assert (terms["likelihood"]["log_term"], terms["entropy"]["ridge"]) == (False, 0.0)
