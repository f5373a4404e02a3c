"""Reading the DMD authors' checkpoints: sizes from shapes, what is ignored, what is refused."""

import pytest
import torch

import dhmd
from dhmd.batch import FeatureSpec
from dhmd.errors import DataError
from dhmd.interop import dmd_from_authors
from dhmd.interop.dmd import LETTERS, _names
from dhmd.models import DecoupledDistillation
from dhmd.models.dmd.options import DecouplingOptions

MOSEI_UNALIGNED = {"dims": {"language": 24, "vision": 35, "acoustic": 74}, "lengths": {"language": 50, "vision": 375, "acoustic": 500}}


def authors_state_dict(width, heads, kernels, dims, lengths, layers=1):
    """Random weights of a network of these sizes under the authors' names, with the axes that their convolutions have."""
    network = DecoupledDistillation(
        FeatureSpec(dims, lengths),
        width=width,
        heads=heads,
        layers=layers,
        kernels=kernels,
        source_order=("language", "acoustic", "vision"),
        padding="authors",
        causal=True,
        decoupling=DecouplingOptions(private_similarity=True),
    )
    out = {}

    def put(theirs, x):
        if isinstance(theirs, list):
            for part, y in zip(theirs, x, strict=True):
                put(part, y)
            return
        if theirs.startswith(("encoder_", "decoder_")):
            x = x.unsqueeze(-1)
        if theirs.startswith("align_c_") and theirs.endswith("weight"):
            x = x.unflatten(1, (-1, width)).transpose(1, 2).flatten(1)
        out[theirs] = x.clone()

    for ours, theirs in _names(network):
        put(theirs, network.state_dict()[ours])
    return network.eval(), out


def random_batch(dims, lengths, n=2):
    return dhmd.FeatureBatch.from_arrays(**{m: torch.randn(n, lengths[m], dims[m]) for m in dims})


@pytest.mark.parametrize(
    ("width", "heads", "kernels", "sizes"),
    [
        (20, 4, {"language": 5, "vision": 3, "acoustic": 1}, MOSEI_UNALIGNED),
        (30, 6, {"language": 5, "vision": 3, "acoustic": 1}, {**MOSEI_UNALIGNED, "lengths": dict.fromkeys(LETTERS, 50)}),
    ],
)
def test_sizes_come_from_the_shapes(width, heads, kernels, sizes):
    original, weights = authors_state_dict(width, heads, kernels, **sizes)
    weights["trans_l_mem.version"] = torch.tensor([2.0])
    weights["trans_l_mem.embed_positions._float_tensor"] = torch.tensor([float("nan")])
    network = dmd_from_authors(weights, n_heads=heads)
    batch = random_batch(**sizes)
    torch.testing.assert_close(network(batch).prediction, original(batch).prediction)
    assert network(batch).prediction.shape == (2, 1)
    assert network.homogeneous.unit is None, "the authors do not save the units"


def test_a_leading_model_is_accepted_and_training_resumes_from_it():
    sizes = {"dims": dict.fromkeys(LETTERS, 6), "lengths": dict.fromkeys(LETTERS, 7)}
    _, weights = authors_state_dict(8, 2, dict.fromkeys(LETTERS, 3), **sizes)
    a = dmd_from_authors(weights, n_heads=2)
    b = dmd_from_authors({f"module.model.{k}": v for k, v in weights.items()}, n_heads=2)
    batch = random_batch(**sizes)
    assert torch.equal(a(batch).prediction, b(batch).prediction)


def test_bert_is_taken_where_present():
    transformers = pytest.importorskip("transformers", reason="needs the extra 'text'")
    config = transformers.BertConfig(vocab_size=99, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=32)
    bert = transformers.BertModel(config).eval()
    sizes = {"dims": {"language": 64, "vision": 5, "acoustic": 4}, "lengths": dict.fromkeys(LETTERS, 9)}
    original, weights = authors_state_dict(8, 2, dict.fromkeys(LETTERS, 5), **sizes)
    weights |= {f"text_model.model.{k}": v for k, v in bert.state_dict().items()}
    network = dmd_from_authors(weights, n_heads=2)
    batch = random_batch(**sizes)
    ids = torch.randint(0, 99, (2, 9))
    tokens = torch.stack([ids, torch.ones_like(ids), torch.zeros_like(ids)], dim=1)
    with torch.no_grad():
        hidden = bert(input_ids=ids, attention_mask=tokens[:, 1], token_type_ids=tokens[:, 2]).last_hidden_state
        expected = original(dhmd.FeatureBatch.from_arrays(**{**batch.features, "language": hidden})).prediction
        found = network(dhmd.FeatureBatch.from_arrays(**batch.features, tokens=tokens)).prediction
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.clear(), "proj_l.weight is missing"),
        (lambda w: w.update({"x": [1]}), "expected names and tensors; found 'x': list"),
        (lambda w: w.pop("proj_v.weight"), "lacks proj_v.weight"),
        (lambda w: w.update({"proj_v.weight": torch.zeros(8, 6)}), r"proj_v.weight: found shape \(8, 6\), expected 3 axes"),
        (lambda w: w.update({"proj_v.weight": torch.zeros(0, 6, 3)}), "none of them empty"),
        (lambda w: w.update({"align_c_l.weight": torch.zeros(8, 41)}), r"align_c_l.weight: found shape \(8, 41\)"),
        (lambda w: w.update({"proj_l.weight": torch.zeros(8, 8, 3)}), "leaves out their projection"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("trans_")], "lacks .trans_l_with_a.layers"),
        (lambda w: w.pop("out_layer.weight"), "lacks out_layer.weight"),
        (lambda w: w.update(extra=torch.zeros(1)), "has arrays that DMD has not: extra"),
        (lambda w: w.update({"proj1.weight": torch.zeros(3, 3)}), r"proj1.weight: found shape \(3, 3\), expected"),
    ],
)
def test_what_is_not_a_checkpoint_of_theirs_is_refused(change, message):
    _, weights = authors_state_dict(8, 2, dict.fromkeys(LETTERS, 3), dict.fromkeys(LETTERS, 6), dict.fromkeys(LETTERS, 7))
    change(weights)
    with pytest.raises(DataError, match=message):
        dmd_from_authors(weights, n_heads=2)


@pytest.mark.parametrize(("what", "message"), [(None, "found NoneType"), ([1], "found list")])
def test_what_is_no_mapping_is_refused(what, message):
    with pytest.raises(DataError, match=message):
        dmd_from_authors(what)


def test_heads_must_be_a_number():
    _, weights = authors_state_dict(8, 2, dict.fromkeys(LETTERS, 3), dict.fromkeys(LETTERS, 6), dict.fromkeys(LETTERS, 7))
    with pytest.raises(DataError, match="n_heads: found '2'; expected a whole number"):
        dmd_from_authors(weights, n_heads="2")


def test_heads_that_do_not_divide_the_width():
    _, weights = authors_state_dict(8, 2, dict.fromkeys(LETTERS, 3), dict.fromkeys(LETTERS, 6), dict.fromkeys(LETTERS, 7))
    with pytest.raises(DataError, match="n_heads=10 does not divide the width 8"):
        dmd_from_authors(weights)
