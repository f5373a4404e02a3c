"""The whole way with two, three and four modalities: a file, its inspection and conversion, training, and all that is done with a run."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from matplotlib.patches import Circle

import dhmd
from dhmd.analysis.edges import edge_graphs
from dhmd.batch import edge_pairs
from dhmd.cli import main
from dhmd.data.synthetic.generator import SyntheticOptions, generate
from dhmd.runs.arrays import EdgeRecord

SIZES = {"n_train": 16, "n_valid": 6, "n_test": 7, "length": 12}
DIMS = {"language": 5, "vision": 4, "acoustic": 3, "gesture": 6}
RELIABILITY = {"language": 0.8, "vision": 0.4, "acoustic": 0.6, "gesture": 0.5}
KEYS = {"language": "text", "vision": "vision", "acoustic": "audio"}
TINY = [
    "model.width=4", "model.heads=2", "model.layers=1", "model.kernels=3", "model.homogeneous.dictionary.entries=6",
    "model.heterogeneous.dictionary.entries=6", "logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=2", "data.batch_size=8",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Arrangement of features, and the options that a user sets for it."""

    modalities: tuple[str, ...]
    keys: tuple[str, ...]  # of the file
    aligned: bool = True
    choice: str = ""  # data.modalities

    @property
    def overrides(self) -> list[str]:
        return [f"data.modalities={self.choice}"] if self.choice else []


CASES = {
    "language and acoustic": Case(("language", "acoustic"), ("text", "audio"), choice="[language,acoustic]"),
    "vision and acoustic, unaligned": Case(("vision", "acoustic"), ("vision", "audio"), False, "{vision: vision, acoustic: audio}"),
    "three": Case(("language", "vision", "acoustic"), ("text", "vision", "audio")),
    "four, unaligned": Case(tuple(DIMS), ("text", "vision", "audio", "gesture"), False, "[language,vision,acoustic,gesture]"),
    "names of one's own, in an order of one's own": Case(
        ("pose", "speech", "face"), ("gesture", "text", "vision"), choice="{pose: gesture, speech: text, face: vision}"
    ),
}


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No store in the user's cache, no figures after training (they are drawn once, at the end), logging as before."""
    import logging

    monkeypatch.setenv("DHMD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", lambda run_dir: [])
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], level = handlers, root.setLevel(level)
    for logger in (logging.getLogger(name) for name in logging.root.manager.loggerDict):
        logger.disabled = False


def dhmd_(*words: str) -> None:
    assert main(list(words)) == 0, words


def numbers(case: Case, arrays: dict[str, np.ndarray], predictor: Any) -> dict[str, np.ndarray]:
    found = predictor.predict(**{m: arrays[m] for m in case.modalities})
    return {"prediction": found.prediction} | {f"{s}_{m}": x for s, by in found.unimodal.items() for m, x in by.items()}


def check_run(case: Case, run: Path, features: Path, arrays: dict[str, np.ndarray], capsys: Any) -> None:
    """Everything that can be done with a run names the modalities as the user did, in the user's order."""
    columns = [f"{space}_{m}" for space in ("homogeneous", "heterogeneous") for m in case.modalities]
    pairs = [f"{a}->{b}" for a, b in edge_pairs(case.modalities)]
    data = json.loads((run / "data.json").read_text())
    assert list(data["modalities"]) == list(case.modalities)
    with h5py.File(run / "record.h5") as record:
        assert [x.decode() for x in record["edges/homogeneous/pairs"]] == pairs
        assert set(record["activations/heterogeneous"]) == set(case.modalities)
        assert record["edges/heterogeneous/test"].shape == (SIZES["n_test"], len(pairs))

    test = json.loads((run / "metrics.json").read_text())["test"]
    capsys.readouterr()
    dhmd_("evaluate", str(run), "--split", "test", "--data", str(features))
    assert f"{test['mae']:.4f}" in capsys.readouterr().out

    dhmd_("predict", str(run), str(features), "-o", "predictions.csv", "--split", "test")
    with open("predictions.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "split", "prediction", *columns]
    assert len(rows) == SIZES["n_test"]

    predictor = dhmd.load(run)
    assert predictor.modalities == case.modalities
    given = numbers(case, arrays, predictor)
    for name in ("prediction", *columns):
        np.testing.assert_allclose(given[name][:, 0], [float(r[name]) for r in rows], atol=1e-4)
    found = predictor.predict(**{m: arrays[m] for m in case.modalities})
    assert all(edges.names == pairs and edges.weights.shape == (SIZES["n_test"], len(pairs)) for edges in found.edges.values())
    assert set(found.activations["homogeneous"]) == set(case.modalities)
    with pytest.raises(dhmd.errors.DataError, match=f"{case.modalities[-1]}"):
        predictor.predict(**{m: arrays[m] for m in case.modalities[:-1]})


def check_export(case: Case, run: Path, arrays: dict[str, np.ndarray]) -> None:
    """The exported network takes features by the user's names."""
    columns = [f"{space}_{m}" for space in ("homogeneous", "heterogeneous") for m in case.modalities]
    given = numbers(case, arrays, dhmd.load(run))
    dhmd_("export", str(run), "--format", "torch", "-o", "network.pt2")
    exported = torch.export.load("network.pt2").module()
    outputs = exported({m: torch.from_numpy(arrays[m]) for m in case.modalities})
    assert list(outputs) == ["prediction", *columns]
    np.testing.assert_allclose(outputs["prediction"].numpy(), given["prediction"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_from_a_pickle_to_figures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    dims = [f"dims.{m}={d}" for m, d in DIMS.items()] + [f"reliability.{m}={r}" for m, r in RELIABILITY.items()]
    sizes = [f"{k}={v}" for k, v in SIZES.items()]
    dhmd_("data", "synth", "-o", "corpus.pkl", *sizes, *dims, f"aligned={str(case.aligned).lower()}", "lengths.gesture=15")
    asked = [f"--modality={m}={k}" for m, k in zip(case.modalities, case.keys, strict=True)]
    capsys.readouterr()
    dhmd_("data", "inspect", "corpus.pkl", *asked, "--json")
    inspected = json.loads(capsys.readouterr().out)["modalities"]
    assert {m: x["key"] for m, x in inspected.items()} == dict(zip(case.modalities, case.keys, strict=True))
    dhmd_("data", "convert", "corpus.pkl", *asked, "-o", "corpus.h5")
    dhmd_("data", "verify", "corpus.h5")

    summary = "auto" if case.aligned else "pool"
    common = ["data=custom", "data.non_finite=zero", f"model.summary={summary}", *TINY]
    dhmd_("train", *common, "data.path=corpus.pkl", *case.overrides, "hydra.run.dir=run")
    dhmd_("train", *common, "data.path=corpus.h5", "hydra.run.dir=from_store")
    first, second = (json.loads(Path(f"{r}/metrics.json").read_text())["test"] for r in ("run", "from_store"))
    assert first == second  # the store has the same modalities in the same order

    options = {**SIZES, "dims": DIMS, "reliability": RELIABILITY, "aligned": case.aligned, "lengths": {"gesture": 15}}
    made = generate(SyntheticOptions.of(options))
    arrays = {m: made.content["test"][k] for m, k in zip(case.modalities, case.keys, strict=True)}
    check_run(case, Path("run"), Path("corpus.pkl"), arrays, capsys)
    if len(case.modalities) != 3:
        check_export(case, Path("run"), arrays)
    dhmd_("predict", "run", "corpus.h5", "-o", "from_store.csv", "--split", "test")
    assert Path("from_store.csv").read_text() == Path("predictions.csv").read_text()

    capsys.readouterr()
    dhmd_("results", "run")
    assert "custom" in capsys.readouterr().out
    drawn = importlib.import_module("dhmd.analysis.figures").write_figures(Path("run"))
    assert {"edge_graphs.png", "edge_history.png"} <= {p.name for p in drawn}
    dhmd_("analyse", "run", "-o", "analysis")
    tables = "".join(p.read_text(encoding="utf-8") for p in Path("analysis").rglob("*.csv"))
    assert all(m in tables for m in case.modalities)


def test_a_generated_corpus_is_read_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    """The language is generated, as the label comes with it, and not read."""
    case = Case(("vision", "acoustic"), ("vision", "audio"))
    sizes = [f"data.synthetic.{k}={v}" for k, v in SIZES.items()]
    dhmd_("train", "data=demo", *sizes, "data.modalities=[vision,acoustic]", *TINY, "hydra.run.dir=run")
    dhmd_("data", "synth", "-o", "corpus.pkl", *(f"{k}={v}" for k, v in SIZES.items()))
    made = generate(SyntheticOptions.of(SIZES)).content["test"]
    check_run(case, Path("run"), Path("corpus.pkl"), {"vision": made["vision"], "acoustic": made["audio"]}, capsys)


def test_a_corpus_of_four_is_evaluated_on_a_file_of_four() -> None:
    sizes = [f"data.synthetic.{k}={v}" for k, v in SIZES.items()]
    dims = "dims={language: 5, vision: 4, acoustic: 3, gesture: 6}"
    dhmd_("train", "experiment=four_modalities", *sizes, f"data.synthetic.{dims}", *TINY, "hydra.run.dir=run")
    four = [f"dims.{m}={d}" for m, d in DIMS.items()] + [f"reliability.{m}={r}" for m, r in RELIABILITY.items()]
    dhmd_("data", "synth", "-o", "corpus.pkl", *(f"{k}={v}" for k, v in SIZES.items()), *four)
    dhmd_("evaluate", "run", "--data", "corpus.pkl")
    dhmd_("predict", "run", "corpus.pkl", "-o", "predictions.csv")


@pytest.mark.parametrize("single", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["a file a modality", "a file a sample"])
def test_from_a_folder_with_modalities_of_a_users_own(single: bool, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    splits = ["train"] * 16 + ["valid"] * 6 + ["test"] * 7
    ids = [f"video{i // 4}$_${i % 4}" for i in range(len(splits))]
    own = Path("own")
    own.mkdir()
    rows = "".join(f"{i},{s},{rng.uniform(-3, 3):.1f}\n" for i, s in zip(ids, splits, strict=True))
    (own / "samples.csv").write_text("id,split,label\n" + rows, encoding="utf-8")
    whole = {
        key: rng.normal(size=(len(ids), frames, d)).astype(np.float32)
        for key, frames, d in (("gesture", 9, 6), ("audio", 14, 3), ("pulse", 7, 2))
    }
    lengths = {key: rng.integers(5, x.shape[1] + 1, len(ids)) for key, x in whole.items()}
    for key, x in whole.items():
        lengths[key][0] = x.shape[1]
        x[np.arange(x.shape[1]) >= lengths[key][:, None]] = 0
        if single:
            np.save(own / f"{key}.npy", x)
            np.save(own / f"{key}_lengths.npy", lengths[key])
        else:
            (own / key).mkdir()
            for name, row, n in zip(ids, x, lengths[key], strict=True):
                np.save(own / key / f"{name}.npy", row[:n])
    test = {key: x[-7:] for key, x in whole.items()}
    common = ["data=custom", "data.path=own", "model.summary=pool", *TINY]
    dhmd_("train", *common, "hydra.run.dir=all")
    by_name = Case(("acoustic", "gesture", "pulse"), ("audio", "gesture", "pulse"))
    check_run(by_name, Path("all"), own, {"acoustic": test["audio"], **test}, capsys)
    chosen = Case(("pose", "acoustic"), ("gesture", "audio"))
    dhmd_("train", *common, "data.modalities={pose: gesture, acoustic: audio}", "hydra.run.dir=two")
    check_run(chosen, Path("two"), own, {"pose": test["gesture"], "acoustic": test["audio"]}, capsys)


@pytest.mark.slow
def test_four_modalities_as_onnx() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    sizes = [f"data.synthetic.{k}={v}" for k, v in SIZES.items()]
    dhmd_("train", "experiment=four_modalities", *sizes, *TINY, "hydra.run.dir=run")
    dhmd_("export", "run", "--format", "onnx", "-o", "network.onnx")


@pytest.mark.parametrize(
    ("overrides", "status", "words"),
    [
        (["data.modalities=[vision,acoustic]", "model=text_only"], 2, "reads the modality 'language'; the data has vision, acoustic"),
        (["data.modalities=[language]"], 2, "two modalities at least, found language; use model=text_only"),
        (["data.modalities=[language,pose]"], 1, "no modality pose of the key pose; there are language: text, vision: vision"),
        (["+model.dropout.attention.gesture=0.1"], 2, "model.dropout.attention: found 'gesture', which is no modality"),
        (["model.homogeneous.distillation.prior='language->pose: 1'"], 2, "no such edge in the prior: language->pose"),
        (["model.homogeneous.distillation.prior='language->vision: x'"], 2, "expected teacher->student: number"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = TINY if "model=text_only" not in overrides else TINY[6:]
    sizes = [f"data.synthetic.{k}={v}" for k, v in SIZES.items()]
    assert main(["train", "data=demo", *sizes, *model, *overrides, "hydra.run.dir=run"]) == status
    assert words in capsys.readouterr().err
    assert not Path("run/config.yaml").exists()


@pytest.mark.parametrize("names", [("face", "pose"), ("language", "vision", "acoustic"), ("a", "b", "c", "d"), ("a", "b", "c", "d", "e")])
def test_every_modality_is_inside_the_graph_of_edges(names: tuple[str, ...]) -> None:
    pairs = edge_pairs(names)
    weights = np.full((1, len(pairs)), 1 / len(pairs))
    figure = edge_graphs({"homogeneous": EdgeRecord(pairs, weights[0], weights=weights)}, "title")
    for axes in figure.axes:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        circles = [p for p in axes.patches if isinstance(p, Circle)]
        assert len(circles) == len(names)
        for circle in circles:
            (x, y), r = circle.center, circle.radius
            assert left < x - r < x + r < right
            assert low < y - r < y + r < high
