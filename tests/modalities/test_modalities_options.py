"""Options that name modalities: the prior as a map and as text, values by modality, presets on other modalities than the papers' three."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch

from dhmd.app import compose
from dhmd.batch import FeatureSpec, edge_pairs, name_fault
from dhmd.config import instantiate, to_plain
from dhmd.errors import UsageError
from dhmd.models import DecoupledDistillation, TextOnly
from dhmd.models.dmd.options import prior_of
from dhmd.models.per_modality import by_modality
from dhmd.nn.graph_distillation import edge_prior, prior_of_text

FOUR = ("language", "vision", "acoustic", "gesture")
HOMOGENEOUS = "model.homogeneous.distillation.prior"
SIZES = ("model.width=4", "model.heads=2", "model.layers=1")


@cache
def model(*overrides: str) -> dict[str, Any]:
    composed: dict[str, Any] = to_plain(compose(["model=dmd", *overrides, *SIZES, "run_dir=x"]))["model"]
    return composed


def network(modalities: tuple[str, ...], *overrides: str, **options: Any) -> DecoupledDistillation:
    """DMD on these modalities, with options as on the command line, or as a configuration has them in the end."""
    config = deepcopy(model(*overrides)) | options
    spec = FeatureSpec(dims=dict.fromkeys(modalities, 3), lengths=dict.fromkeys(modalities, 6))
    made: DecoupledDistillation = instantiate(config, "model", spec=spec, text_encoder=None)
    return made


def prior(made: DecoupledDistillation, space: str = "homogeneous") -> dict[str, float]:
    unit = getattr(made, space).unit
    return {f"{a}->{b}": float(p) for (a, b), p in zip(unit.pairs, unit.prior, strict=True)}


def expected(modalities: tuple[str, ...], named: dict[str, float]) -> dict[str, float]:
    names = [f"{a}->{b}" for a, b in edge_pairs(modalities)]
    values = torch.tensor([named.get(n, 0.0) for n in names]) / 0.25
    return dict(zip(names, values.softmax(0).tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("language->vision: 1, language->gesture: 0.5", {"language->vision": 1.0, "language->gesture": 0.5}),
        (" gesture -> acoustic :-2e-1 ", {"gesture->acoustic": -0.2}),
        ("uniform", {}),
    ],
)
def test_a_text_takes_the_place_of_the_whole_map(text: str, named: dict[str, float]) -> None:
    assert prior_of_text(text) == named
    assert prior(network(FOUR, f'{HOMOGENEOUS}="{text}"')) == pytest.approx(expected(FOUR, named))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("language->vision: much", "found 'language->vision: much', expected teacher->student: number"),
        ("language->vision: nan", "found 'language->vision: nan'"),
        ("language->vision: inf", "found 'language->vision: inf'"),
        ("language->vision", "found 'language->vision'"),
        ("language: 1", "found 'language: 1'"),
        ("language->vision->acoustic: 1", "found 'language->vision->acoustic: 1'"),
        ("->vision: 1", "found '->vision: 1'"),
        ("language->vision: 1,", "found ''"),
        ("", "found ''"),
        ("language->vision: 1, language -> vision: 2", "language->vision is there twice"),
        ("language->pose: 1", "no such edge in the prior: language->pose; expected among vision->language"),
        ("language->language: 1", "no such edge in the prior: language->language"),
        ("all", "found 'all'"),
    ],
)
def test_a_wrong_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        network(FOUR, homogeneous={"distillation": {"prior": text}})


def test_every_edge_of_a_text_must_be_there() -> None:
    with pytest.raises(UsageError, match=r"model.homogeneous.distillation: no such edge in the prior: language->acoustic"):
        network(("language", "vision"), f"{HOMOGENEOUS}='language->acoustic: 1'")


def test_a_map_in_a_file_is_merged_with_the_presets() -> None:
    made = network(FOUR, "experiment=four_modalities")
    presets = {"language->vision": 1.0, "language->acoustic": 1.0}
    assert prior(made) == pytest.approx(expected(FOUR, {**presets, "language->gesture": 1.0}))
    named = {**presets, "vision->acoustic": 1.0, "language->gesture": 1.0, "gesture->vision": 0.5}
    assert prior(made, "heterogeneous") == pytest.approx(expected(FOUR, named))


@pytest.mark.parametrize(
    ("modalities", "named"),
    [
        (("language", "vision"), {"language->vision": 1.0}),
        (("vision", "acoustic"), {}),
        (("language", "gesture"), {}),
        (FOUR, {"language->vision": 1.0, "language->acoustic": 1.0}),
    ],
)
def test_edges_of_a_preset_between_modalities_that_are_not_there_are_left_out(modalities: tuple[str, ...], named: dict[str, float]) -> None:
    assert prior(network(modalities)) == pytest.approx(expected(modalities, named))


@pytest.mark.parametrize("edge", ["langauge->vision", "language->gesture", "acoustic->acoustic", "language->vision->acoustic", "language"])
def test_a_misspelt_edge_of_a_map_is_refused(edge: str) -> None:
    with pytest.raises(ValueError, match=f"no such edge in the prior: {edge}"):
        edge_prior(("language", "vision"), prior_of({edge: 1.0}, ("language", "vision"), "prior") or {})


@pytest.mark.parametrize("value", ["x", None, True, float("nan")])
def test_a_map_holds_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match="the prior of language->vision: found"):
        edge_prior(("language", "vision"), {"language->vision": value})


def test_a_rate_of_attention_that_a_map_does_not_name_is_0() -> None:
    def rates(*overrides: str) -> dict[str, float]:
        made = network(FOUR, *overrides)
        return {m: float(rate) for m, rate in zip(FOUR, made.homogeneous.encoder.attention_dropout, strict=True)}

    assert rates() == {"language": 0.3, "vision": 0.0, "acoustic": 0.2, "gesture": 0.0}
    assert rates("+model.dropout.attention.gesture=0.4")["gesture"] == 0.4
    assert set(rates("model.dropout.attention=0.1").values()) == {0.1}
    with pytest.raises(UsageError, match=r"model.dropout.attention: found 'gestur', which is no modality; the data has language, vision"):
        rates("+model.dropout.attention.gestur=0.4")


def test_a_kernel_that_is_missing_says_what_to_give() -> None:
    given = "model.kernels={language: 5, vision: 3, acoustic: 1}"
    with pytest.raises(UsageError, match=r"for example \+model.kernels.gesture=5 for this one, or model.kernels=5 for all"):
        network(FOUR, given)
    assert network(FOUR, given, "+model.kernels.gesture=5").projection["gesture"].length(6) == 2
    assert network(("language", "vision"), given).modalities == ("language", "vision")
    with pytest.raises(UsageError, match="no value for the modality 'b'"):
        by_modality({}, ("b",), "key")


class Encoder(torch.nn.Module):
    needs_tokens = True

    def encoded(self, spec: FeatureSpec) -> FeatureSpec:
        raise AssertionError("nobody may ask")


def test_a_text_encoder_needs_the_language() -> None:
    spec = FeatureSpec(dims={"vision": 3, "acoustic": 3}, lengths={"vision": 6, "acoustic": 6})
    with pytest.raises(UsageError, match=r"text_encoder: .* the data has vision, acoustic; set text_encoder=features"):
        DecoupledDistillation(spec, Encoder())
    with pytest.raises(UsageError, match="model=text_only reads the modality 'language'; the data has vision, acoustic"):
        TextOnly(spec, Encoder())


@pytest.mark.parametrize("name", ["gesture", "pose_2d", "a", "3d", "left-hand", "Геста"])
def test_names(name: str) -> None:
    assert name_fault(name) is None
    network(("language", name))


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a/b", "a->b", "a-", "a:b", "keys", "type", "forward", "tokens", "training"])
def test_no_names(name: str) -> None:
    assert name_fault(name)
