"""A frozen text encoder runs once: what is served in its place, and what a damaged file of hidden states is worth."""

import logging
import multiprocessing
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from dhmd.batch import FeatureBatch
from dhmd.config import instantiate, to_plain
from dhmd.data.text_cache import Texts, text_states
from dhmd.errors import DataError
from dhmd.files import alone
from dhmd.nn.text import TextEncoder
from dhmd.training.build import build_data, build_module, encode_once, whole_split
from dhmd.training.evaluate import evaluate
from dhmd.training.train import train

MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
IDS = np.array([[5, 6, 0, 0], [5, 7, 6, 0], [5, 6, 0, 0], [0, 0, 0, 0]])
TOKENS = np.stack([IDS, MASK, np.zeros_like(IDS)], axis=1)
SPLITS = {"train": TOKENS[:2], "valid": TOKENS[2:3], "test": TOKENS[3:]}


class Multiplier:
    """An encoder whose hidden states say which token is where: [id * weight, position]."""

    def __init__(self, weight=1.0, log=None, width=2):
        self.weight, self.log, self.width = weight, log, width

    def digest(self):
        return f"{self.weight} {self.width}"

    def encode(self, tokens):
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{len(tokens)}\n")
            time.sleep(0.5)
        place = np.broadcast_to(np.arange(tokens.shape[2]), tokens[:, 0].shape)
        return np.stack([tokens[:, 0] * self.weight, *[place] * (self.width - 1)], axis=-1).astype(np.float32)


def states_of(folder, encoder=None, padding=False, in_memory=False, splits=SPLITS):
    return text_states(splits, encoder or Multiplier(), padding, folder / "x.pkl.dhmd.h5", in_memory)


def the_file(folder):
    (path,) = folder.glob("x.pkl.text-*.h5")
    return path


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("padding", [False, True])
def test_every_sample_gets_the_states_of_its_text(tmp_path, padding, in_memory):
    for _ in range(2):  # made, then read
        states = states_of(tmp_path, padding=padding, in_memory=in_memory)
        for split, tokens in SPLITS.items():
            rows = np.arange(len(tokens))[::-1]
            found, expected = states[split].read(rows), Multiplier().encode(tokens[rows])
            mask = tokens[rows, 1] > 0
            assert np.array_equal(states[split].mask[rows], mask)
            assert np.array_equal(found[mask], expected[mask])
            assert not padding or np.array_equal(found, expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == [the_file(tmp_path).name]  # no lock, no part


def test_equal_texts_are_kept_once_and_only_up_to_their_last_token():
    texts = Texts.of(SPLITS, padding=False)
    assert texts.lengths.tolist() == [1, 2, 3]
    assert [r.tolist() for r in texts.rows.values()] == [[1, 2], [1], [0]]
    assert Texts.of(SPLITS, padding=True).lengths.tolist() == [4, 4, 4]


def test_other_splits_of_the_same_texts_share_a_file(tmp_path):
    states_of(tmp_path)
    log = tmp_path / "log"
    found = states_of(tmp_path, Multiplier(log=log), splits={"train": TOKENS[2:], "valid": TOKENS[:1], "test": TOKENS[1:2]})
    assert found["test"].read(np.array([0]))[0, :3, 0].tolist() == [5, 7, 6]
    assert not log.exists()


def test_what_decides_the_states_decides_the_file(tmp_path):
    other = {**SPLITS, "test": TOKENS[3:] + 1}
    for encoder, padding, splits in ((1.0, False, SPLITS), (2.0, False, SPLITS), (1.0, True, SPLITS), (1.0, False, other)):
        states_of(tmp_path, Multiplier(encoder), padding, splits=splits)
    assert len(list(tmp_path.glob("x.pkl.text-*.h5"))) == 4


def _flipped(path):
    content = bytearray(path.read_bytes())
    at = content.index(np.float32([5, 0, 6, 1]).tobytes())
    content[at + 2] ^= 1
    path.write_bytes(content)


def _foreign(path):
    path.write_bytes(b"something else")


def _short(path):
    path.write_bytes(path.read_bytes()[:-20])


def _of_another(path):
    folder = path.parent / "other"
    folder.mkdir()
    states_of(folder, Multiplier(3.0))
    the_file(folder).replace(path)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("harm", [_flipped, _foreign, _short, _of_another])
def test_a_damaged_file_is_told_of_and_made_anew(tmp_path, caplog, harm, in_memory):
    states_of(tmp_path)
    harm(the_file(tmp_path))
    with caplog.at_level(logging.WARNING):
        found = states_of(tmp_path, in_memory=in_memory)
    assert f"{the_file(tmp_path)}: not what was written there" in caplog.text
    assert found["valid"].read(np.array([0]))[0, :2].tolist() == [[5, 0], [6, 1]]
    caplog.clear()
    states_of(tmp_path)
    assert not caplog.text


def test_a_file_cut_while_it_is_read(tmp_path):
    states = states_of(tmp_path)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes()[: states["train"].file.offset + 4])
    with pytest.raises(DataError, match="ends before row"):
        states["train"].read(np.array([0]))


def test_where_the_folder_cannot_be_written_the_cache_takes_it(tmp_path, cache):
    (tmp_path / "file").touch()
    states_of(tmp_path / "file")
    assert len(list(cache.glob("x.pkl.text-*.h5"))) == 1


def test_nowhere_to_write(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DHMD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot be written(.|\n)*data.cache_dir="):
        states_of(tmp_path / "file")


def test_states_can_be_handed_to_worker_processes(tmp_path):
    states = states_of(tmp_path)["train"]
    states.read(np.array([0]))
    copied = pickle.loads(pickle.dumps(states))  # noqa: S301
    assert np.array_equal(copied.read(np.array([1])), states.read(np.array([1])))


def _encode(folder):
    states_of(folder, Multiplier(log=folder / "log"))


def test_of_two_processes_at_once_one_encodes(tmp_path):
    pytest.importorskip("fcntl", reason="needs locks of files")
    both = [multiprocessing.get_context("fork").Process(target=_encode, args=(tmp_path,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert (tmp_path / "log").read_text() == "3\n"
    assert [process.exitcode for process in both] == [0, 0]


def test_a_lock_left_by_a_killed_process_holds_nobody_up(tmp_path):
    (tmp_path / "x.lock").touch()
    with alone(tmp_path / "x.lock"):
        assert (tmp_path / "x.lock").exists()
    assert not (tmp_path / "x.lock").exists()


# --- with a network -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small untrained BERT of the uncased vocabulary, as a folder."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'text'")
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 64}
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def calls(monkeypatch):
    """The number of texts of each time an encoder ran."""
    counted, compute = [], TextEncoder._states
    monkeypatch.setattr(TextEncoder, "_states", lambda self, tokens: (counted.append(len(tokens)), compute(self, tokens))[1])
    return counted


def frozen(folder, cache):
    return ["text_encoder=bert", f"text_encoder.source={folder}", "text_encoder.frozen=true", f"data.cache_dir={cache}"]


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(("model", "options"), [("dhmd", []), ("dmd_authors", []), ("dhmd", ["data.folds=3"]), ("text_only", [])])
def test_predictions_are_those_of_the_encoder_in_the_network(tiny, bert, tmp_path, calls, model, options, in_memory):
    config = to_plain(tiny("unused", *frozen(bert, tmp_path), f"data.in_memory={in_memory}", *options, model=model))
    encoder = instantiate(config["text_encoder"], "text_encoder")
    data = build_data(config, encoder)
    network = build_module(config, encoder, data.spec).network.eval()
    with torch.no_grad():
        before = [(batch, network(batch).prediction) for batch in whole_split(data, "test")]
        encode_once(data, encoder, network)
        data.dataset("test")
        calls.clear()
        for (raw, expected), batch in zip(before, whole_split(data, "test"), strict=True):
            assert (raw.encoded, batch.encoded, batch.modalities) == (False, True, raw.modalities)
            assert torch.equal(batch.masks["language"], batch.tokens[:, 1] > 0)
            torch.testing.assert_close(network(batch).prediction, expected, rtol=1e-4, atol=1e-5)
    assert not calls


def test_training_and_evaluation_run_a_frozen_encoder_once(tiny, bert, tmp_path, calls, no_figures):
    first = train(tiny(tmp_path / "first", *frozen(bert, tmp_path / "cache"), model="text_only"))
    assert 0 < sum(calls) <= 44  # distinct texts of all splits
    calls.clear()
    second = train(tiny(tmp_path / "second", *frozen(bert, tmp_path / "cache"), model="text_only"))
    again = evaluate(tmp_path / "first").metrics
    assert not calls
    assert first.metrics["test"] == second.metrics["test"] == pytest.approx(again)


def test_a_trained_encoder_runs_in_every_step(tiny, bert, tmp_path, calls, no_figures):
    train(tiny(tmp_path / "run", *frozen(bert, tmp_path / "cache"), "text_encoder.frozen=false", model="text_only"))
    assert calls == ([4] * 6 + [4, 4, 2]) * 2 + [4, 4, 2] * 2  # two epochs of steps and validation; the best epoch's validation and test
    assert not list((tmp_path / "cache").glob("*.text-*"))


def test_only_its_own_frozen_encoder_takes_a_batch_as_encoded(bert):
    tokens = torch.as_tensor(TOKENS)
    batch = replace(FeatureBatch.from_arrays(language=torch.ones(4, 4, 16), tokens=tokens), encoded=True)
    assert TextEncoder(str(bert), frozen=True)(batch) is batch
    assert not TextEncoder(str(bert))(batch).features["language"].eq(1).any()


def test_the_digest_is_of_weights_and_configuration_not_of_the_place(bert, tmp_path):
    encoder, copy = TextEncoder(str(bert), frozen=True), tmp_path / "copy"
    encoder.model.save_pretrained(copy)
    assert TextEncoder(str(copy)).digest() == encoder.digest()
    encoder.model.config.hidden_act = "relu"
    other = encoder.digest()
    with torch.no_grad():
        next(encoder.model.parameters()).view(-1)[0] += 1
    assert len({TextEncoder(str(copy)).digest(), other, encoder.digest()}) == 3
