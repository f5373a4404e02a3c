"""The command ``python -m tests.parity``: a system of one layer, whose numbers are worked out here, and files spoilt in every way."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tests.parity import __main__ as command
from tests.parity.adapters import adapters
from tests.parity.dialect import Dialect, Limits
from tests.parity.reference import Found, Reference, gradient_norms, linear_names, load

DATA = Path(__file__).parent / "data"
STORED = [DATA / "dmd_reference.npz", *sorted((DATA / "baselines").glob("*.npz"))]
NAMES = linear_names("own", "layer")


def compute(reference: Reference) -> Found:
    """The numbers of y = W x + b and mean (y - label)^2, by autograd."""
    module = nn.ModuleDict({"own": nn.Linear(3, 1)})
    load(module, reference, NAMES)
    prediction = module["own"](reference.tensor("in.x"))
    loss = (prediction - reference.tensor("in.labels")).square().mean()
    loss.backward()
    values = {"out.M": prediction, "loss.task": loss, "loss.total": loss}
    return Found(values | gradient_norms(module, NAMES), NAMES)


TOY = SimpleNamespace(SYSTEM="Toy", compute=compute)


def file(tmp_path, config=(), **changes):
    """Write the system's numbers, worked out by hand; a change of None takes a key away, other ones set it."""
    rng = np.random.default_rng(0)
    x, label, weight, bias = (rng.normal(size=shape) for shape in ((5, 3), (5, 1), (1, 3), (1,)))
    error = x @ weight.T + bias - label
    arrays = {
        "model.layer.weight": weight,
        "model.layer.bias": bias,
        "model.unused": np.ones(2),
        "in.x": x,
        "in.labels": label,
        "out.M": x @ weight.T + bias,
        "loss.task": (error**2).mean(),
        "loss.total": (error**2).mean(),
        "gradnorm.layer.weight": np.linalg.norm(2 / 5 * error.T @ x),
        "gradnorm.layer.bias": np.linalg.norm(2 / 5 * error.sum()),
    } | {key.replace("__", "."): value for key, value in changes.items()}
    settings = {"system": "Toy", "weights": {"task": 1.0}, "no_grad": ["unused"], **dict(config)}
    kept = {key: np.asarray(value, np.float32) for key, value in arrays.items() if value is not None}
    path = tmp_path / "toy.npz"
    np.savez(path, **kept, config=json.dumps({k: v for k, v in settings.items() if v is not None}))
    return path


def status(monkeypatch, *paths, adapters=(TOY,)):
    monkeypatch.setattr(command, "adapters", lambda: iter(adapters))
    return command.main([str(path) for path in paths])


def test_a_right_file_is_ok(tmp_path, monkeypatch, capsys):
    assert status(monkeypatch, file(tmp_path)) == 0
    line = capsys.readouterr().out
    assert line.startswith("Toy  outputs ")
    assert line.endswith("passed over 1  ok\n")
    numbers = [float(part.split()[1]) for part in line.split("  ")[1:4]]
    assert max(numbers) < 1e-6


@pytest.mark.parametrize("key", ["out.M", "loss.task", "loss.total", "gradnorm.layer.weight", "gradnorm.layer.bias", "model.layer.bias"])
def test_a_perturbed_number_is_off(tmp_path, monkeypatch, capsys, key):
    path = file(tmp_path)
    arrays = dict(np.load(path))
    arrays[key] = arrays[key] * np.float32(1.001)
    np.savez(path, **arrays)
    assert status(monkeypatch, path) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("off\n")
    assert captured.err


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"out__more": [1.0]}, "out.more: not found"),
        ({"after__mean": [1.0]}, "after.mean: not found"),
        ({"edges_homo": [1.0]}, "edges_homo: not found"),
        ({"loss__more": 1.0}, "loss.more: not found"),
        ({"gradnorm__layer__more": 1.0}, "gradnorm.layer.more: not found"),
        ({"gradnorm_stage0__layer__bias": 1.0}, "gradnorm_stage0.layer.bias: not found"),
        ({"out__M": np.zeros((1, 5))}, "out.M: found shape (5, 1), expected (1, 5)"),
        ({"out__M": np.full((5, 1), np.nan)}, "out.M: deviation inf"),
        ({"loss__task": np.nan}, "loss.task: deviation inf"),
        ({"gradnorm__layer__weight": np.nan}, "gradnorm.layer.weight: deviation nan"),
        ({"gradnorm__layer__bias": None}, "gradnorm.layer.bias: found 8.0e-01, the reference has no gradient there"),
        ({"model__more": [1.0]}, "more: a weight of the reference that our network lacks"),
        ({"model__layer__bias": None}, "KeyError: 'layer.bias'"),
        ({"model__layer__bias": [1.0, 2.0]}, "RuntimeError: Error(s) in loading"),
        ({"in__x": None}, "KeyError: 'in.x'"),
    ],
)
def test_what_is_missing_or_too_much_is_off(tmp_path, monkeypatch, capsys, changes, fault):
    assert status(monkeypatch, file(tmp_path, **changes)) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("off\n")
    assert captured.out.count("\n") == 1
    assert fault in captured.err


def test_a_weight_that_is_lacking_must_be_named_as_one_without_gradient(tmp_path, monkeypatch, capsys):
    assert status(monkeypatch, file(tmp_path, {"no_grad": []})) == 1
    assert "unused: a weight of the reference that our network lacks" in capsys.readouterr().err


def test_a_weight_stored_under_a_second_name_is_no_other_weight(tmp_path, monkeypatch, capsys):
    weight = np.load(file(tmp_path))["model.layer.weight"]
    assert status(monkeypatch, file(tmp_path, model__again__weight=weight)) == 0
    assert "passed over 1 " in capsys.readouterr().out
    assert status(monkeypatch, file(tmp_path, model__again__weight=weight, gradnorm__again__weight=0.5)) == 1


def test_a_parameter_of_ours_without_a_reference_is_off(tmp_path, monkeypatch, capsys):
    def with_one_more(reference):
        found = compute(reference)
        return Found(found.values, {**NAMES, "extra.bias": "extra.bias"})

    assert status(monkeypatch, file(tmp_path), adapters=[SimpleNamespace(SYSTEM="Toy", compute=with_one_more)]) == 1
    assert "extra.bias: has no weight 'extra.bias' in the reference" in capsys.readouterr().err


@pytest.mark.parametrize(("norm", "expected"), [(0.0, 0), (1e-9, 0), (1e-5, 1)])
def test_a_gradient_that_the_reference_lacks_must_be_zero(tmp_path, monkeypatch, norm, expected):
    def with_one_more(reference):
        found = compute(reference)
        return Found({**found.values, "gradnorm.unused": torch.tensor(norm)}, {**NAMES, "unused": "unused"})

    assert status(monkeypatch, file(tmp_path), adapters=[SimpleNamespace(SYSTEM="Toy", compute=with_one_more)]) == expected


@pytest.mark.parametrize("key", ["foo", "foo.bar", "outs.M", "gradnorms.layer.bias", "homo_gd.weight"])
def test_an_unknown_key_is_status_2(tmp_path, monkeypatch, capsys, key):
    path = file(tmp_path)
    np.savez(path, **np.load(path), **{key: np.ones(1)})
    assert status(monkeypatch, path) == 2
    captured = capsys.readouterr()
    assert key in captured.err
    assert not captured.out


@pytest.mark.parametrize("config", [{"weights": None}, {"system": None}, {"system": 3}])
def test_a_file_of_no_dialect_is_status_2(tmp_path, monkeypatch, config):
    assert status(monkeypatch, file(tmp_path, config)) == 2


def test_a_file_without_a_total_is_of_no_dialect(tmp_path, monkeypatch):
    assert status(monkeypatch, file(tmp_path, loss__total=None)) == 2


def test_a_system_without_an_adapter_is_off(tmp_path, monkeypatch, capsys):
    assert status(monkeypatch, file(tmp_path, {"system": "Other"})) == 1
    assert "'Other'" in capsys.readouterr().err


def npz_without_config(path):
    np.savez(path, x=np.ones(1))


def npz_with_objects(path):
    np.savez(path, config="{}", x=np.array([{}], dtype=object))


def npz_with_a_list_as_config(path):
    np.savez(path, config="[1, 2]", **{"loss.total": np.ones(())})


def npz_with_no_literal_as_config(path):
    np.savez(path, config="{system: print(1)}", x=np.ones(1))


def npy(path):
    with path.open("wb") as f:
        np.save(f, np.ones(3))


def half_an_npz(path):
    np.savez(path, config="{}", x=np.ones(1000))
    path.write_bytes(path.read_bytes()[:3000])


GARBAGE = {
    "text": lambda path: path.write_text("no numbers here"),
    "nothing": lambda path: path.write_bytes(b""),
    "bytes": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(range(256))),
    "folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
    "npy": npy,
    "half": half_an_npz,
    "no config": npz_without_config,
    "objects": npz_with_objects,
    "list": npz_with_a_list_as_config,
    "code": npz_with_no_literal_as_config,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_garbage_file_is_status_2_and_one_line(tmp_path, monkeypatch, capsys, kind):
    path = tmp_path / "garbage.npz"
    GARBAGE[kind](path)
    assert status(monkeypatch, path) == 2
    captured = capsys.readouterr()
    assert str(path) in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_the_worst_file_decides_and_every_file_is_compared(tmp_path, monkeypatch, capsys):
    good = file(tmp_path).rename(tmp_path / "any name")
    off = file(tmp_path, out__more=[1.0]).rename(tmp_path / "off.npz")
    assert status(monkeypatch, off, good) == 1
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["off", "ok"]
    assert status(monkeypatch, tmp_path / "none.npz", off, good) == 2
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_dialect_of_its_own_needs_its_adapter_only(tmp_path, monkeypatch):
    def told(reference):
        return "own" if any(key.startswith("unit.") for key in reference.arrays) else None

    def own(reference):
        values = {"scale_x": reference.tensor("unit.w") + 1e-3, "gradnorm.unit.w": torch.tensor(3.0)}
        return Found(values, {"w": "unit.w"})

    path = tmp_path / "own.npz"
    np.savez(path, **{"unit.w": np.ones(2), "scale_x": np.ones(2), "gradnorm.unit.w": np.float32(3.0)}, config="{'sizes': (1, 2)}")
    for limit, expected in ((1e-3, 0), (1e-5, 1)):
        dialect = Dialect(told, {"unit.": "unit."}, ("scale_*",), Limits(outputs=1e-5, special={"scale_x": limit}))
        adapter = SimpleNamespace(SYSTEM="own", compute=own, DIALECT=dialect)
        assert status(monkeypatch, path, adapters=[TOY, adapter]) == expected
    assert status(monkeypatch, path) == 2


def test_every_adapter_has_a_system_of_its_own():
    found = [(module.SYSTEM, id(getattr(module, "DIALECT", None))) for module in adapters()]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_stored_file_is_ok(path, capsys):
    assert command.main([str(path)]) == 0
    assert capsys.readouterr().out.endswith("ok\n")


def test_the_command_needs_the_runtime_dependencies_only():
    extras = ("pytest", "hypothesis", "transformers", "onnx", "onnxscript", "onnxruntime", "entmax", "jsonschema", "optuna")
    blocked = f"import sys, runpy; sys.modules.update(dict.fromkeys({extras!r})); sys.argv = ['parity', {str(STORED[0])!r}]; "
    code = blocked + "runpy.run_module('tests.parity', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "ok"), done.stderr


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["model.", "loss.", "out.", "gradnorm."])
def test_a_stored_file_with_one_other_number_is_off(tmp_path, path, kind, capsys):
    arrays = dict(np.load(path))
    key = next(key for key in arrays if key.startswith(kind))
    arrays[key] = arrays[key].copy()
    arrays[key].flat[0] += 0.01 * (1 + abs(arrays[key].flat[0]))
    np.savez(tmp_path / "copy", **arrays)
    assert command.main([str(tmp_path / "copy.npz")]) == 1
    assert capsys.readouterr().out.endswith("off\n")
