"""MISA: shapes, padding, gradients, options and presets."""

import inspect
from dataclasses import fields

import pytest
import torch
from misa_tiny import DIMS, REAL, SMALL, STILL, batch, build, network, preset, spec, tensors
from torch import nn

from dhmd.baselines.misa import Misa
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.losses.misa import Difference, DomainClassification, Reconstruction


@pytest.mark.parametrize(("options", "width"), [({}, 1), ({"task": "binary"}, 1), ({"task": "multiclass", "n_classes": 7}, 7)])
@pytest.mark.parametrize("similarity", ["cmd", "adversarial"])
def test_outputs_have_a_row_a_sample(options, width, similarity):
    outputs = network(similarity=similarity, **options)(batch())
    assert outputs.prediction.shape == (4, width)
    assert list(outputs.features) == [f"{space}/{m}" for space in ("private", "shared") for m in DIMS]
    assert list(outputs.private) == list(outputs.shared) == list(DIMS)
    assert len(outputs.domain) == (3 if similarity == "adversarial" else 0)
    assert all(len(x) == 4 for x in tensors(outputs))
    assert len(tensors(outputs)) == 1 + 6 + 3 + 3 + len(outputs.domain)
    assert {f"embeddings/{name}" for name in outputs.features} <= set(outputs.arrays())


@pytest.mark.parametrize(
    "dims", [{"language": 8, "acoustic": 3}, {"vision": 4, "acoustic": 3}, {"language": 8, "vision": 4, "acoustic": 3, "gesture": 5}]
)
def test_any_two_or_more_modalities(dims):
    model, data = network(dims, similarity="adversarial"), batch(dims)
    outputs = model(data)
    assert list(outputs.domain) == list(dims)
    assert all(x.shape == (4, len(dims)) for x in outputs.domain.values())
    assert model.fusion[0].in_features == 2 * len(dims) * 6
    for term in (Difference(), Reconstruction(), DomainClassification()):
        assert term(outputs, data).isfinite()


@pytest.mark.parametrize("similarity", ["cmd", "adversarial"])
@pytest.mark.parametrize("modality", list(DIMS))
@pytest.mark.parametrize(("left", "right"), [(17, 0), (0, 17), (9, 4)])
def test_padding_makes_no_difference(similarity, modality, left, right):
    model, objective = build(preset("misa", f"model.similarity={similarity}"))
    model.eval()
    data = batch()
    features, masks = dict(data.features), dict(data.masks)
    features[modality] = nn.functional.pad(features[modality], (0, 0, left, right), value=3.0)
    masks[modality] = nn.functional.pad(masks[modality], (left, right))
    padded = FeatureBatch(features, masks, label=data.label)
    with torch.no_grad():
        before, after = model(data), model(padded)
    for x, y in zip(tensors(before), tensors(after), strict=True):
        assert (x - y).abs().max() < 1e-6
    for name, x in objective(before, data).items():
        assert abs(x - objective(after, padded)[name]) < 1e-6, name


def test_a_sample_does_not_depend_on_its_neighbours():
    model, data = network().eval(), batch()
    alone = FeatureBatch({m: x[2:3] for m, x in data.features.items()}, {m: x[2:3] for m, x in data.masks.items()})
    for x, y in zip(tensors(model(data)), tensors(model(alone)), strict=True):
        assert (x[2:3] - y).abs().max() < 1e-6


def test_a_sample_without_a_real_frame_has_finite_outputs():
    data = batch(real={**REAL, "language": (0, 2, 5, 1), "vision": (0, 9, 6, 2), "acoustic": (0, 3, 1, 8)})
    assert all(x.isfinite().all() for x in tensors(network()(data)))


def test_lengths_of_text_read_so_many_frames_from_the_beginning():
    data = batch()
    mask = data.masks["language"]  # of real frames 7, 2, 5, 1
    cut = FeatureBatch(data.features, dict.fromkeys(DIMS, mask), label=data.label)
    by_text, own = network(lengths="language"), network(lengths="own")
    assert by_text.reads_padding
    assert not own.reads_padding
    for x, y in zip(tensors(by_text(data)), tensors(own(cut)), strict=True):
        assert torch.equal(x, y)
    assert not torch.equal(by_text(data).prediction, own(data).prediction)


def test_lengths_of_text_beyond_a_modality_read_all_of_it():
    dims = {"language": 8, "vision": 4}
    data = batch(dims)
    short = FeatureBatch(
        {**data.features, "vision": data.features["vision"][:, :3]}, {**data.masks, "vision": data.masks["vision"][:, :3]}, label=data.label
    )
    whole = FeatureBatch(short.features, {**short.masks, "vision": torch.arange(3) < torch.tensor([3, 2, 3, 1]).view(-1, 1)})
    assert torch.equal(network(dims, lengths="language")(short).prediction, network(dims)(whole).prediction)


class States(nn.Module):
    """A text encoder whose states are the token ids times a weight."""

    needs_tokens, frozen = True, False

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def encoded(self, data):
        return FeatureSpec({**data.dims, "language": 8}, {**data.lengths, "language": 5}, aligned=data.aligned)

    def forward(self, data, padding=False):
        ids, mask, _ = data.tokens.unbind(dim=1)
        return FeatureBatch(
            {**data.features, "language": ids.unsqueeze(-1) * self.weight}, {**data.masks, "language": mask > 0}, label=data.label
        )


def test_text_is_the_mean_over_all_tokens_of_the_encoder():
    model = Misa(spec({**DIMS, "language": 2}), States(), **SMALL, **STILL)
    data = batch({**DIMS, "language": 2})
    ids, mask = torch.tensor([[1, 5, 9, 2, 0]] * 4), torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0]])
    tokens = torch.stack([ids, mask, torch.zeros_like(ids)], dim=1)
    outputs = model(FeatureBatch(data.features, data.masks, label=data.label, tokens=tokens))
    mean = torch.tensor([17 / 4, 3.0, 1.0, 5.0]).view(-1, 1).expand(-1, 8)
    torch.testing.assert_close(outputs.projected["language"], model.projections["language"](mean))
    outputs.prediction.sum().backward()
    assert set(model.parameter_groups()) == {"text_encoder", "network"}
    assert model.text_encoder.weight.grad.abs().max() > 0


@pytest.mark.parametrize("similarity", ["cmd", "adversarial"])
@pytest.mark.parametrize("name", ["misa", "misa_published"])
def test_every_parameter_of_a_preset_has_a_gradient(name, similarity):
    model, objective = build(preset(name, f"model.similarity={similarity}"))
    data = batch()
    terms = objective(model(data), data)
    shared = {"cmd": "central_moments", "adversarial": "domain"}[similarity]
    assert set(terms) == {"task", "difference", shared, "reconstruction", "total"}
    terms["total"].backward()
    assert sum(len(group) for group in model.parameter_groups().values()) == len(list(model.parameters()))
    lacking = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.abs().max() > 0]
    assert not lacking


@pytest.mark.parametrize("similarity", ["cmd", "adversarial"])
def test_it_learns_a_batch_by_heart(similarity):
    model, objective = build(preset("misa", f"model.similarity={similarity}", "model.dropout=0.0", "model.attention_dropout=0.0"))
    data, optimizer = batch(), torch.optim.Adam(model.parameters(), lr=1e-2)
    first = objective(model(data), data)
    for _ in range(100):
        optimizer.zero_grad()
        objective(model(data), data)["total"].backward()
        optimizer.step()
    last = objective(model(data), data)
    assert last["task"] < 0.1 * first["task"]
    assert last["reconstruction"] < 0.5 * first["reconstruction"]
    assert last["difference"] < first["difference"]


def test_what_the_published_preset_changes():
    ours, published = preset("misa"), preset("misa_published")
    assert (ours["model"]["lengths"], published["model"]["lengths"]) == ("own", "language")
    assert (ours["model"]["recurrent_init"], published["model"]["recurrent_init"]) == ("orthogonal", "uniform")
    assert ours["optimisation"]["accumulation"]["_target_"].endswith("MeanAccumulation")
    assert published["optimisation"]["accumulation"] == {
        "_target_": "dhmd.training.accumulation.SumAccumulation",
        "batches": 2,
        "clip_value": 0.8,
        "clip_norm": None,
    }
    assert ours["objective"] == published["objective"]
    assert ours["objective"]["task"]["regression"] == "mse"


def test_presets_give_every_option_of_the_network():
    taken = set(inspect.signature(Misa).parameters) - {"spec", "text_encoder"}
    assert set(preset("misa")["model"]) - {"_target_"} == taken


def test_number_of_parameters():
    """The number that public code has at MOSI's sizes less its layers without a gradient: the norm of text and the 4-way discriminator."""
    model = Misa(FeatureSpec({"language": 768, "vision": 20, "acoustic": 5}, dict.fromkeys(DIMS, 50)))
    unused = 2 * 2 * 768 + 128 * 4 + 4
    assert sum(p.numel() for p in model.parameters()) == 1_138_033 - unused


def test_recurrent_weights_are_orthogonal_or_those_of_torch():
    weights = {init: network(recurrent_init=init).extractors["vision"].first.back.weight_hh_l0 for init in ("orthogonal", "uniform")}
    gram = {init: w.T @ w for init, w in weights.items()}
    torch.testing.assert_close(gram["orthogonal"], torch.eye(4), rtol=0, atol=1e-5)
    assert (gram["uniform"] - torch.eye(4)).abs().max() > 0.1
    assert weights["uniform"].abs().max() <= 1 / 2  # 1 / sqrt(h)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"similarity": "mmd"}, "model.similarity: found 'mmd'; expected one of cmd, adversarial"),
        ({"lengths": "vision"}, "model.lengths: found 'vision'"),
        ({"recurrent_init": "xavier"}, "model.recurrent_init: found 'xavier'"),
        ({"dropout": 1.0}, "model.dropout: found 1.0"),
        ({"attention_dropout": -0.1}, "model.attention_dropout: found -0.1"),
        ({"reversal": -1.0}, "model.reversal: found -1.0"),
        ({"hidden": 6.5}, "model.hidden: found 6.5"),
        ({"feedforward": 0}, "model.feedforward: found 0"),
        ({"heads": 4}, "model.heads: found 4; expected a divisor of model.hidden, 6"),
        ({"dims": {"language": 8}}, "data.modalities: found language alone"),
        ({"dims": {"vision": 4, "acoustic": 3}, "lengths": "language"}, "model.lengths: found language; the data has vision, acoustic"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        network(**options)


class Deployed(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, features, masks):
        outputs = self.model(FeatureBatch(features, masks))
        return {f.name: getattr(outputs, f.name) for f in fields(outputs)}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"similarity": "adversarial"}, {"lengths": "language"}])
def test_it_exports_for_any_batch(options):
    deployed, data = Deployed(network(**options)).eval().requires_grad_(False), batch()
    free = {m: {0: torch.export.Dim.DYNAMIC} for m in DIMS}  # lengths are fixed: torch.export reads torch.nn.LSTM frame by frame
    program = torch.export.export(deployed, (data.features, data.masks), dynamic_shapes=(free, free), strict=False).module()
    other = batch(samples=3, seed=1)
    torch.testing.assert_close(program(other.features, other.masks), deployed(other.features, other.masks), rtol=0, atol=1e-6)


def test_double_precision():
    model = network().double()
    outputs = model(batch().double())
    assert all(x.dtype == torch.double for x in tensors(outputs))
