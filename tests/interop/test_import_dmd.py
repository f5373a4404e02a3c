"""A run folder from a checkpoint saved as the DMD authors save theirs."""

import json
import pickle

import numpy as np
import pytest
import torch
import yaml

from authors_checkpoint import INPUTS, REFERENCE, UNITS, as_saved, save, with_bert
from dhmd.app import compose
from dhmd.errors import DataError, RunError, UsageError
from dhmd.interop import dmd_from_authors
from dhmd.interop.imported import import_dmd
from dhmd.runs.reader import read_run
from dhmd.training.evaluate import evaluate
from dhmd.training.load import load_network
from dhmd.training.train import train


def feature_file(folder, name="features.pkl"):
    """A pickle whose test split is the fixture's input."""
    rng = np.random.default_rng(0)
    content = {}
    for split in ("train", "valid", "test"):
        keys = {"text": "language", "audio": "acoustic", "vision": "vision"}
        part = {key: INPUTS[m] if split == "test" else rng.normal(size=INPUTS[m].shape).astype(np.float32) for key, m in keys.items()}
        content[split] = part | {"id": [f"{split}{i}" for i in range(6)], "regression_labels": REFERENCE["in.label"][:, 0].clip(-3, 3)}
    (folder / name).write_bytes(pickle.dumps(content))
    return folder / name


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    return import_dmd(save(folder, as_saved()), folder / "run", heads=3)


def test_evaluating_the_run_gives_the_authors_outputs(imported, tmp_path):
    found = evaluate(imported, "test", feature_file(tmp_path)).predictions
    np.testing.assert_allclose(found.prediction, REFERENCE["out.output_logit"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.heads["homogeneous_vision"], REFERENCE["out.logits_v_homo"], rtol=1e-4, atol=1e-5)


def test_what_lies_in_the_folder(imported):
    names = {str(p.relative_to(imported)) for p in imported.rglob("*") if p.is_file()}
    assert names == {"config.yaml", "environment.json", "command.txt", "data.json", "imported.json", "checkpoints/best.ckpt"}
    origin = json.loads((imported / "imported.json").read_text())
    assert (origin["file"], origin["heads"], origin["heads_from"], origin["bert"]) == ("dmd.pth", 3, "given", False)
    data = json.loads((imported / "data.json").read_text())
    assert data["name"] == "mosi_aligned", "20 and 5 features are those of CMU-MOSI"
    assert {m: (x["dim"], x["length"]) for m, x in data["modalities"].items()} == {m: x.shape[:0:-1] for m, x in INPUTS.items()}
    config = yaml.safe_load((imported / "config.yaml").read_text())
    assert (config["model"]["width"], config["model"]["layers"], config["model"]["padding"]) == (12, 2, "authors")
    assert config["data"]["standardise"] is False
    torch.load(imported / "checkpoints" / "best.ckpt", weights_only=True)


def test_wrapped_checkpoints_are_the_same(imported, tmp_path):
    expected = load_network(imported).network.state_dict()
    wrapped = import_dmd(save(tmp_path, {"epoch": 3, "state_dict": as_saved()}), tmp_path / "wrapped", heads=3)
    assert all(torch.equal(x, expected[k]) for k, x in load_network(wrapped).network.state_dict().items())


def test_a_list_of_three_brings_the_units(tmp_path):
    run = import_dmd(save(tmp_path, [as_saved(), *UNITS]), tmp_path / "run", heads=3, data=feature_file(tmp_path))
    edges = evaluate(run).predictions.edges
    for space, short in (("homogeneous", "homo"), ("heterogeneous", "hetero")):
        np.testing.assert_allclose(edges[space].weights.T, REFERENCE[f"edges_{short}"], rtol=1e-4, atol=1e-6)
    description = json.loads((run / "data.json").read_text())
    assert (description["source"]["name"], description["samples"]["test"]) == ("features.pkl", 6)


def test_bert_comes_with_its_weights_and_without_a_hub(tmp_path):
    weights = with_bert()
    run = import_dmd(save(tmp_path, weights), tmp_path / "run", heads=3)
    found, expected = load_network(run), dmd_from_authors(weights, 3)
    assert found.spec.token_length == 50
    assert {k: v.tolist() for k, v in found.network.state_dict().items()} == {k: v.tolist() for k, v in expected.state_dict().items()}


@pytest.mark.parametrize(
    ("content", "heads", "message"),
    [
        ([1, 2], 3, "list of 2"),
        (7, 3, "found:      a int"),
        ({"weights": as_saved()}, 3, "weights"),
        ({k: v for k, v in as_saved().items() if k != "proj2.bias"}, 3, r"dmd\.pth: the authors' checkpoint lacks proj2\.bias"),
        ({k: v for k, v in as_saved().items() if "trans_l_with_a" not in k}, 3, r"lacks 'trans_l_with_a\.layers"),
        (as_saved(**{"proj2.bias": torch.full((108,), float("nan"))}), 3, r"proj2\.bias: found NaN"),
        ([as_saved(), UNITS[1], UNITS[0]], 3, r"homo_gd\.W_repr\.weight: found shape \(32, 24\), expected \(32, 12\)"),
        (as_saved(), 5, "n_heads=5 does not divide the width 12"),
        (as_saved(), None, r"width 12 is none of the authors'; give it \(--heads N\)"),
    ],
)
def test_what_is_refused(tmp_path, content, heads, message):
    with pytest.raises(DataError, match=message):
        import_dmd(save(tmp_path, content), tmp_path / "run", heads)
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        import_dmd(tmp_path / "none.pth", tmp_path / "run")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(DataError, match=r"16 bytes that torch\.load does not read"):
        import_dmd(tmp_path / "text.pth", tmp_path / "run")
    whole = save(tmp_path, as_saved()).read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"that torch\.load does not read"):
        import_dmd(tmp_path / "half.pth", tmp_path / "run")


def test_a_whole_model_is_refused_and_not_run(tmp_path):
    with pytest.raises(DataError, match=r"a pickle that imports torch\.nn\.modules\.linear\.Linear, .* nothing of it was run"):
        import_dmd(save(tmp_path, torch.nn.Linear(1, 1)), tmp_path / "run")


def test_data_that_does_not_fit_leaves_no_run(tmp_path):
    content = pickle.loads(feature_file(tmp_path).read_bytes())  # noqa: S301  # written above
    for part in content.values():
        part |= {key: part[key][:, :40] for key in ("text", "vision", "audio")}
    (tmp_path / "short.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(RunError, match=r"short\.pkl: the checkpoint was trained on data with lengths .*'vision': 50.*'vision': 40"):
        import_dmd(save(tmp_path, as_saved()), tmp_path / "run", 3, tmp_path / "short.pkl")
    assert sorted(p.name for p in tmp_path.iterdir() if "run" in p.name) == []


def test_it_is_no_trained_run(imported):
    with pytest.raises(RunError, match="an imported checkpoint, not trained here"):
        read_run(imported)
    with pytest.raises(UsageError, match="no training to continue"):
        train(compose(["data=demo", f"run_dir={imported}", "resume=true"]))
    with pytest.raises(UsageError, match="there is something already"):
        import_dmd("any.pth", imported)
