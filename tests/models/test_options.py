"""Every option of the presets' table does what the table says (docs/deviations.md); wrong options are told."""

import pytest
import torch
from presets import MODALITIES_OF_TEST as MODALITIES
from presets import NO_DROPOUT, SPEC, batch, build, configuration

from dhmd.batch import FeatureSpec, edge_pairs
from dhmd.errors import UsageError
from dhmd.losses.matching import code_divergence_loss
from dhmd.models import DecoupledDistillation, TextOnly
from dhmd.nn.temporal import Flatten, MaskedMean
from objectives import objective_of


def outputs_of(*overrides, model="dmd", data=None):
    network, objective = build(model, *NO_DROPOUT, *overrides)
    data = batch() if data is None else data
    outputs = network(data)
    return network, outputs, objective(outputs, data)


def test_causal_last_step_sees_all_but_earlier_ones_do_not():
    a, b = batch(), batch()
    b.features["vision"][:, -1] += 1

    def encoded(network, data):
        x = [network.projection["vision"](data.features["vision"], None)[0]] * 3
        return network.homogeneous.encoder(x, (None,) * 3)[1]

    network, _ = build("dmd", "model.causal=true", *NO_DROPOUT)
    x, y = (encoded(network, d) for d in (a, b))
    torch.testing.assert_close(x[:, :-1], y[:, :-1])
    assert not torch.allclose(x[:, -1], y[:, -1])
    free, _ = build("dmd", *NO_DROPOUT)
    x, y = (encoded(free, d) for d in (a, b))
    assert not torch.allclose(x[:, 0], y[:, 0])


def test_gate_multiplies_or_replaces():
    network, _ = build("dmd", "model.gate=multiply")
    x = torch.randn(3, 16)
    gate = network.gates["language"]
    torch.testing.assert_close(gate(x), x * torch.sigmoid(gate.linear(x)))
    network, _ = build("dmd")
    gate = network.gates["language"]
    torch.testing.assert_close(gate(x), torch.sigmoid(gate.linear(x)))


@pytest.mark.parametrize(
    ("summary", "aligned", "kind"),
    [("flatten", False, Flatten), ("pool", True, MaskedMean), ("auto", True, Flatten), ("auto", False, MaskedMean)],
)
def test_summary_of_a_sequence(summary, aligned, kind):
    spec = FeatureSpec(SPEC.dims, SPEC.lengths, aligned=aligned)
    network, _ = build("dmd", f"model.summary={summary}", spec=spec)
    assert isinstance(network.homogeneous.summary["vision"], kind)
    assert isinstance(network.decoupling.summary["vision"], kind)


def test_pooled_heads_take_any_length_and_flattened_ones_say_why_not():
    longer = FeatureSpec(SPEC.dims, dict.fromkeys(SPEC.dims, 14))
    network, _ = build("dmd", "model.summary=pool")
    assert network(batch(spec=longer)).prediction.shape == (4, 1)
    network, _ = build("dmd", "model.kernels=3")
    with pytest.raises(ValueError, match=r"built for 7 frames after the projection, found 12; set model.summary=pool"):
        network(batch(spec=longer))


def test_homogeneous_representation_is_after_the_relu_and_the_heterogeneous_after_the_residual():
    _, outputs, _ = outputs_of()
    assert all(r.min() >= 0 for r in outputs.homogeneous.representations.values())
    assert any(r.min() < 0 for r in outputs.heterogeneous.representations.values())


def test_heterogeneous_representation_repels_or_imitates():
    _, outputs, terms = outputs_of()
    edges, values = outputs.heterogeneous.edges, outputs.heterogeneous.representations
    cos = torch.stack([torch.cosine_similarity(values[s], values[t]).clamp(min=0) for t, s in edges.pairs], 1)
    torch.testing.assert_close(terms["heterogeneous_representation"], 10 * (edges.distillation * cos).mean(0).sum())
    _, _, terms = outputs_of("objective.terms.heterogeneous_representation.kind=repel_mean")
    torch.testing.assert_close(terms["heterogeneous_representation"], 10 * (edges.distillation.mean(0) * cos.mean(0)).sum())
    _, _, terms = outputs_of("objective.terms.heterogeneous_representation.kind=imitate")
    distance = torch.stack([(values[s] - values[t]).abs().sum(1) for t, s in edges.pairs], 1)
    torch.testing.assert_close(terms["heterogeneous_representation"], 10 * (edges.distillation * distance).mean(0).sum())


def test_homogeneous_representation_is_logged_and_weighs_nothing_unless_asked():
    _, _, terms = outputs_of()
    _, _, weighted = outputs_of("objective.weights.homogeneous_representation=0.05")
    assert terms["homogeneous_representation"] > 0
    torch.testing.assert_close(weighted["total"] - terms["total"], 0.05 * terms["homogeneous_representation"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("space", ["homogeneous", "heterogeneous"])
def test_edges_of_a_space(space):
    key = f"model.{space}.distillation"
    _, outputs, _ = outputs_of(f"{key}.softmax_over=student")
    torch.testing.assert_close(getattr(outputs, space).edges.weights.view(4, 3, 2).sum(-1), torch.ones(4, 3))
    network, outputs, terms = outputs_of(f"{key}.edges=uniform")
    assert getattr(outputs, space).edges.distillation.eq(1 / 6).all()
    assert f"{space}_regularity" not in terms
    assert not list(getattr(network, space).unit.parameters())
    _, outputs, terms = outputs_of(f"{key}.edges=fixed")
    edges = getattr(outputs, space).edges
    assert torch.equal(edges.distillation, edges.prior.expand(4, 6))
    _, outputs, terms = outputs_of(f"{key}.prior=false")
    edges = getattr(outputs, space).edges
    assert torch.equal(edges.distillation, edges.weights)
    assert f"{space}_regularity" not in terms


@pytest.mark.parametrize("space", ["homogeneous", "heterogeneous"])
def test_units_on_codes(space):
    network, outputs, _ = outputs_of(f"model.{space}.distillation.input=dictionary", model="dhmd")
    heads, found = getattr(network, space).heads, getattr(outputs, space)
    for m in MODALITIES:
        torch.testing.assert_close(heads[m](found.codes[m]).logits, found.logits[m])
    network, outputs, _ = outputs_of(model="dhmd")
    heads, found = getattr(network, space).heads, getattr(outputs, space)
    read = found.pooled if space == "heterogeneous" else {m: found.sequences[m].flatten(1) for m in MODALITIES}
    for m in MODALITIES:
        torch.testing.assert_close(heads[m](read[m]).logits, found.logits[m])


@pytest.mark.parametrize(
    "override",
    ["activation=softmax", "activation=sigmoid", "pool=mean", "pool=sum", "entries=20", "width=6", "init=xavier", "temperature=0.5"],
)
def test_options_of_a_dictionary_change_the_prediction(override):
    _, plain, _ = outputs_of(model="dhmd")
    network, outputs, _ = outputs_of(f"model.heterogeneous.dictionary.{override}", model="dhmd")
    assert not torch.equal(plain.prediction, outputs.prediction)
    entries = network.heterogeneous.dictionary.entries
    assert outputs.heterogeneous.activations["vision"].shape == (4, entries.shape[0])
    assert outputs.heterogeneous.codes["vision"].shape == (4, entries.shape[1])


def test_weights_of_the_objective_are_the_authors():
    weights = configuration("dmd")["objective"]["weights"]
    _, _, terms = outputs_of()
    total = sum(terms[t] for t in terms if t.startswith("task_"))
    total = total + 0.1 * (terms["reconstruction"] + terms["cycle"] + 0.1 * (terms["margin"] + terms["orthogonality"]))
    total = total + 0.05 * (terms["homogeneous_logit"] + terms["homogeneous_regularity"])
    total = total + 0.05 * sum(terms[f"heterogeneous_{t}"] for t in ("logit", "representation", "regularity"))
    torch.testing.assert_close(terms["total"], total)
    assert weights["homogeneous_matching"] == weights["heterogeneous_matching"] == 0.1
    _, _, terms = outputs_of(model="dhmd")
    _, _, without = outputs_of("objective.weights.homogeneous_matching=0", "objective.weights.heterogeneous_matching=0", model="dhmd")
    rest = without["total"]
    torch.testing.assert_close(
        terms["total"] - rest, 0.1 * (terms["homogeneous_matching"] + terms["heterogeneous_matching"]), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(
    ("override", "weights"),
    [
        ("edges=learned", lambda edges: edges.weights),
        ("edges=fixed", lambda edges: edges.prior.expand(4, 6)),
        ("edges=uniform", lambda edges: torch.full((4, 6), 1 / 6)),
        (None, lambda edges: torch.full((4, 6), 1 / 6)),
    ],
)
def test_code_divergence_follows_the_edges_of_its_space(override, weights):
    key = "model.heterogeneous.distillation"
    change = f"{key}=null" if override is None else f"{key}.{override}"
    _, outputs, terms = outputs_of(change, "objective.terms.heterogeneous_matching.loss=code_kl", model="dhmd")
    space = outputs.heterogeneous
    expected = code_divergence_loss(edge_pairs(MODALITIES), weights(space.edges), space.activations)
    torch.testing.assert_close(terms["heterogeneous_matching"], expected)
    assert expected > 0


def test_infonce_learns_its_scale():
    network, objective = build("dhmd", *(f"objective.terms.{s}_matching.loss=infonce" for s in ("homogeneous", "heterogeneous")))
    objective(network(batch()), batch())["total"].backward()
    for space in ("homogeneous", "heterogeneous"):
        log_scale = objective.terms[f"{space}_matching"].log_scale
        assert log_scale.exp().item() == pytest.approx(1 / 0.07)
        assert log_scale.grad is not None
        assert any(log_scale is p for p in objective.parameter_groups()["dictionaries"])


def test_text_only_reads_language_alone():
    network = TextOnly(SPEC).eval()
    data, other = batch(real=(9, 4, 2, 9)), batch(real=(9, 4, 2, 9))
    other.features["vision"].mul_(0)
    assert torch.equal(network(data).prediction, network(other).prediction)
    mean = data.features["language"][1, :4].mean(0)
    torch.testing.assert_close(network(data).prediction[1], network.head(mean))
    terms = objective_of(SPEC, network=network)(network(data), data)
    assert terms.keys() == {"task_fused", "total"}
    with pytest.raises(UsageError, match="reads the modality 'language'; the data has vision, acoustic"):
        TextOnly(FeatureSpec({"vision": 2, "acoustic": 3}, {"vision": 4, "acoustic": 4}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9}, "model.width=9 is not a multiple of model.heads=2"),
        ({"padding": "none"}, "model.padding: found 'none'; expected one of masked, authors"),
        ({"summary": "mean"}, "model.summary: found 'mean'; expected one of flatten, pool, auto"),
        ({"gate": "both"}, "model.gate: found 'both'; expected one of replace, multiply"),
        ({"kernels": {"language": 3}}, "model.kernels: no value for the modality 'vision'"),
        ({"heads": 0}, "model.heads: found 0; expected a whole number, 1 at least"),
        ({"layers": -1}, "model.layers: found -1; expected a whole number"),
        ({"kernels": 0}, "model.kernels.language: found 0; expected a whole number"),
        ({"kernels": "x"}, "model.kernels.language: found 'x'; expected a whole number"),
        ({"source_order": ["acoustc"]}, "model.source_order: found 'acoustc'; expected a list of modalities among language"),
        ({"source_order": "language"}, "model.source_order: found 'language'; expected a list"),
        ({"dropout": {"output": 1.5}}, "model.dropout.output: found 1.5; expected from 0 to 0.99"),
        ({"dropout": {"attention": 2}}, "model.dropout.attention.language: found 2; expected from 0 to 0.99"),
        ({"dropout": {"attention": {"language": "abc", "vision": 0, "acoustic": 0}}}, "attention.language: found 'abc'; expected a number"),
        ({"homogeneous": {"dictionary": {"entries": 0}}}, "model.homogeneous.dictionary.entries: found 0; expected at least 1"),
        ({"homogeneous": {"dictionary": {"temperature": 0}}}, "dictionary.temperature: found 0; expected at least 1e-06"),
        ({"homogeneous": {"distillation": {"width": 0}}}, "model.homogeneous.distillation.width: found 0; expected at least 1"),
        ({"kernels": 12}, "model.kernels: a convolution over 12 frames needs as many at least, found 9"),
        ({"dropout": {"output": 0.1, "outptu": 0.2}}, "model.dropout.outptu: no such option; expected among attention"),
        ({"dropout": 0.5}, "model.dropout: found 0.5; expected a map of options"),
        ({"homogeneous": {"dictionary": {"pool": "median"}}}, "dictionary.pool: found 'median'; expected one of max, mean, sum"),
        ({"homogeneous": {"dictionary": {"entries": 1.5}}}, "dictionary.entries: found 1.5; expected a whole number"),
        ({"homogeneous": {"dictionary": {"temperature": "hot"}}}, "dictionary.temperature: found 'hot'; expected a number"),
        ({"homogeneous": {"dictionary": {"detach": "yes"}}}, "dictionary.detach: found 'yes'; expected true or false"),
        ({"homogeneous": {"distillation": {"prior": True}}}, "distillation.prior: found true; expected false for none"),
        ({"homogeneous": {"distillation": {"prior": {"a->b": 1}}}}, "distillation: no such edge in the prior: a->b"),
        ({"homogeneous": {"distillation": {"input": "dictionary"}}}, "distillation.input=dictionary needs the dictionary of this space"),
        ({"homogeneous": {"distillation": {}, "unimodal_heads": False}}, "compares the unimodal heads"),
        ({"homogeneous": {"distillation": {"edges": "fixed", "prior": False}}}, "edges: fixed needs a prior"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(UsageError) as caught:
        DecoupledDistillation(SPEC, **{"width": 8, "heads": 2, **options})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+objective.weights.tasks=1.0", "objective.weights.tasks: no such term; expected among task_fused, task_shared"),
        (
            "objective.terms.homogeneous_matching.loss=l2",
            "objective.terms.homogeneous_matching.loss: found 'l2', expected hinge or infonce or code_kl",
        ),
        ("objective.terms.orthogonality.axis=time", "objective.terms.orthogonality.axis: found 'time', expected features or batch"),
        (
            "objective.terms.heterogeneous_representation.kind=mean",
            "objective.terms.heterogeneous_representation.kind: found 'mean', expected imitate or repel or repel_mean",
        ),
        (
            "objective.terms.heterogeneous_logit.space=hetero",
            "objective.terms.heterogeneous_logit.space: found 'hetero', expected homogeneous or heterogeneous",
        ),
        ("objective.terms.margin.margin=wide", "objective.terms.margin.margin: found 'wide', expected a number"),
        ("+objective.terms.margin.scale=2", "dhmd.losses.Margin: got an unexpected keyword argument 'scale'"),
        ("objective.task.regression=l2", "objective.task.regression: found 'l2', expected l1 or mse"),
        ("objective.task.label_smoothing=0.1", "objective.task: class_weights and label_smoothing are for tasks with classes"),
        ("objective.weights.margin=true", "objective.weights.margin: found True; expected a number"),
        ("~objective.weights.margin", "objective.weights.margin: not set; each term needs its weight"),
    ],
)
def test_wrong_objectives_are_told(override, message):
    with pytest.raises(UsageError) as caught:
        objective_of(SPEC, override)
    assert message in str(caught.value)


def test_one_modality_is_not_enough():
    with pytest.raises(UsageError, match="needs two modalities at least, found language; use model=text_only"):
        DecoupledDistillation(FeatureSpec({"language": 4}, {"language": 9}))


def test_one_dictionary_is_one_parameter_in_both_spaces():
    sizes = {"dictionary": {"entries": 8, "width": 6}}
    both = {"homogeneous": sizes, "heterogeneous": sizes}
    network = DecoupledDistillation(SPEC, width=6, heads=2, layers=1, kernels=1, **both, one_dictionary=True)
    assert network.homogeneous.dictionary.entries is network.heterogeneous.dictionary.entries
    assert [p.shape for p in network.parameter_groups()["dictionaries"]].count((8, 6)) == 1
    with pytest.raises(UsageError, match=r"model.one_dictionary: found 8 entries of width 6 and none"):
        DecoupledDistillation(SPEC, width=6, heads=2, layers=1, kernels=1, homogeneous=sizes, one_dictionary=True)
