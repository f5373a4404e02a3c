"""Token ids on their way to a text encoder: their number is the data's, and they must be ones the encoder knows."""

import os
import pickle

import numpy as np
import pytest
import torch
from feature_files import make_content

from dhmd.app import compose
from dhmd.data.module import FeatureDataModule
from dhmd.errors import UsageError
from dhmd.models import DecoupledDistillation
from dhmd.nn.text import TextEncoder
from dhmd.training.build import build_data

transformers = pytest.importorskip("transformers", reason="needs the extra 'text'")


def encoder(vocabulary=30522, positions=64, kinds=2):
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=positions,
        type_vocab_size=kinds,
    )
    return TextEncoder.from_model(transformers.BertModel(config, add_pooling_layer=False), "somewhere")


def demo(**changes):
    return {
        "data": {
            "_target_": "dhmd.data.module.FeatureDataModule",
            "name": "demo",
            "non_finite": "zero",
            "synthetic": {"n_train": 8, "n_valid": 4, "n_test": 4},
            **changes,
        }
    }


@pytest.mark.parametrize("model", ["dmd", "dhmd"])
def test_networks_take_as_many_tokens_as_the_data_has(model):
    text = encoder()
    data = build_data(demo(), text)
    assert data.spec.token_length == data.tokens("train").shape[-1] != 50
    options = dict(compose([f"model={model}", "run_dir=x"]).model)
    options.pop("_target_")
    network = DecoupledDistillation(data.spec, text, **{**options, "width": 8, "heads": 2, "layers": 1, "kernels": 3})
    batch = next(iter(data.train_dataloader()))
    assert network(batch).prediction.shape == (8, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda: encoder(vocabulary=50), "largest token id is"),
        (lambda: encoder(positions=4), "largest number of tokens is"),
        (lambda: encoder(kinds=1), "largest segment is 1"),
    ],
)
def test_tokens_beyond_the_encoder_are_refused_before_training(text, message, tmp_path):
    content = make_content()
    for split in content.values():
        split["text_bert"][:, 2, 0] = 1
    path = tmp_path / "f.pkl"
    path.write_bytes(pickle.dumps(content))
    config = {"data": {"_target_": "dhmd.data.module.FeatureDataModule", "path": str(path), "tokens": "text_bert", "non_finite": "zero"}}
    with pytest.raises(UsageError, match=message):
        build_data(config, text())


def test_an_encoder_of_another_vocabulary_reads_the_texts():
    text = encoder(vocabulary=50)
    text.tokenizer = lambda: lambda sentences: np.ones((len(sentences), 3, 7), np.int64)
    data = build_data(demo(), text)
    assert data.tokens("train").shape == (8, 3, 7)


def test_a_source_replaced_under_an_old_time_of_change_is_read_again(tmp_path):
    path = tmp_path / "f.pkl"
    content = make_content()
    path.write_bytes(pickle.dumps(content))
    labels = []
    for sign in (1, -1):
        before = path.stat().st_mtime_ns
        for split in content.values():
            split["regression_labels"] = sign * abs(np.asarray(split["regression_labels"]))
        path.write_bytes(pickle.dumps(content))
        os.utime(path, ns=(before, before))
        data = FeatureDataModule(path=path, non_finite="zero")
        data.prepare_data()
        data.setup()
        labels.append(data.labels("train"))
    assert torch.equal(labels[0], -labels[1])
