"""Exported networks against the runs they come from."""

import importlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import dhmd
from authors_checkpoint import save, with_bert
from dhmd.batch import MODALITIES
from dhmd.errors import RunError, UsageError
from dhmd.interop import export as module
from dhmd.interop.export import export
from dhmd.interop.imported import import_dmd
from dhmd.training.train import train

SMALL = ("trainer.max_epochs=1", "model.cross_modal_attention=false")


@pytest.fixture(scope="module")
def pooled(tiny, tmp_path_factory):
    """A small network with every kind of stage that reads sequences of any length."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", lambda run_dir: [])
        return train(tiny(tmp_path_factory.mktemp("pooled") / "run", *SMALL, "model.summary=pool")).run_dir


def samples(spec, n, **lengths):
    rng = np.random.default_rng(n)
    x = {m: rng.normal(size=(n, lengths.get(m, spec.lengths[m]), spec.dims[m])).astype(np.float32) for m in MODALITIES}
    x["vision"][0, :3] = 0
    x["acoustic"][-1] = 0  # a sample without any
    x["acoustic"][0, 1, 0] = -np.inf
    return x


def expected(run, inputs):
    found = dhmd.load(run).predict(**inputs)
    return {"prediction": found.prediction, **{f"{s}_{m}": x for s, heads in found.unimodal.items() for m, x in heads.items()}}


def compare(found, run, inputs):
    wanted = expected(run, inputs)
    assert list(found) == list(wanted)
    for name, x in wanted.items():
        np.testing.assert_allclose(np.asarray(found[name]), x, rtol=1e-4, atol=1e-5, err_msg=name)


def load_onnx(path):
    session = pytest.importorskip("onnxruntime", reason="needs the extra 'export'").InferenceSession(str(path))
    names = [x.name for x in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))


def load_torch(path):
    network = torch.export.load(path).module()
    return lambda inputs: network({m: torch.from_numpy(x) for m, x in inputs.items()})


LOAD = {"torch": load_torch, "onnx": load_onnx}


@pytest.fixture(scope="module")
def text_only(tiny, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", lambda run_dir: [])
        return train(tiny(tmp_path_factory.mktemp("text_only") / "run", "trainer.max_epochs=1", model="text_only")).run_dir


def test_a_program_of_torch_takes_any_batch_and_any_length(text_only, tmp_path):
    found = export(text_only, tmp_path / "out" / "net.pt2", "torch")
    assert (found.inputs, found.outputs) == ({"language": ("batch", "language frames", 32)}, ["prediction"])
    assert found.difference < 1e-5
    compute = load_torch(found.path)
    for n, frames in ((1, 4), (5, 30)):
        inputs = {"language": samples(dhmd.load(text_only).spec, n, language=frames)["language"]}
        compare(compute(inputs), text_only, inputs)
    with zipfile.ZipFile(found.path) as file:
        about = json.loads(file.read(next(name for name in file.namelist() if name.endswith("dhmd.json"))))
    assert about["trained_on"].startswith("demo")


def test_a_difference_is_told_and_nothing_is_written(text_only, tmp_path, monkeypatch):
    def broken(program, about, names):
        return b"", lambda inputs: {name: torch.zeros(len(inputs["language"]), 1) for name in about["outputs"]}

    monkeypatch.setattr(module, "WRITERS", {"torch": broken})
    monkeypatch.setattr(module, "_trace", lambda *arguments: None)
    with pytest.raises(RunError, match=r"differs from the run's by .* in prediction"):
        export(text_only, tmp_path / "net.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(text_only, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="format: found 'pickle', expected torch or onnx"):
        export(text_only, tmp_path / "x", "pickle")
    with pytest.raises(UsageError, match="is a folder"):
        export(text_only, tmp_path, "torch")
    with pytest.raises(RunError, match="no such folder"):
        export(tmp_path / "none", tmp_path / "x", "torch")
    monkeypatch.setattr(module, "_trace", lambda *arguments: None)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"format=onnx needs onnx, onnxscript, onnxruntime: pip install 'dhmd\[export\]'"):
        export(text_only, tmp_path / "x", "onnx")


@pytest.fixture
def formats(monkeypatch):
    """By name, and the second format is written from the first one's program, as tracing takes as long as writing."""
    trace, programs = module._trace, []

    def once(*arguments):
        if not programs:
            programs.append(trace(*arguments))
        return programs[0]

    def each():
        yield "torch"
        pytest.importorskip("onnxscript", reason="needs the extra 'export'")
        yield "onnx"

    monkeypatch.setattr(module, "_trace", once)
    return each()


@pytest.mark.slow
def test_spaces_of_pooled_heads_take_any_length(pooled, tmp_path, formats):
    spec = dhmd.load(pooled).spec
    for format in formats:
        found = export(pooled, tmp_path / format, format)
        assert found.inputs["vision"] == ("batch", "vision frames", 16)
        assert found.outputs == ["prediction", *(f"{s}_{m}" for s in ("homogeneous", "heterogeneous") for m in MODALITIES)]
        compute = LOAD[format](found.path)
        for inputs in (samples(spec, 2), samples(spec, 6, language=4, vision=40, acoustic=9)):
            compare(compute(inputs), pooled, inputs)


@pytest.mark.slow
def test_a_whole_dhmd_with_flattened_heads(finished, tmp_path, formats):
    inputs = samples(dhmd.load(finished).spec, 4)
    for format in formats:
        found = export(finished, tmp_path / format, format)
        assert found.inputs["vision"] == ("batch", 12, 16)
        compare(LOAD[format](found.path)(inputs), finished, inputs)
    source = str(Path(dhmd.__file__).parent).encode()
    assert source not in found.path.read_bytes()  # traces of what made a node tell of the machine, and are larger than the weights


@pytest.mark.slow
def test_an_imported_dmd_with_its_bert(tmp_path, formats):
    run = import_dmd(save(tmp_path, with_bert()), tmp_path / "run", heads=3)
    for format in formats:
        found = export(run, tmp_path / format, format)
        assert found.inputs == {"vision": ("batch", 50, 20), "acoustic": ("batch", 50, 5), "tokens": ("batch", 3, 50)}
