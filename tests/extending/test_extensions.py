"""Code of a user's own: loaded only where the user names it, in the places that take it. (tests/docs runs docs/extending.md.)"""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.cli import main
from dhmd.config import instantiate
from dhmd.data.convert import open_or_convert
from dhmd.data.layouts import LAYOUTS, layouts
from dhmd.data.store.reader import Store
from dhmd.errors import UsageError
from dhmd.extensions import definitions, described, extensions
from dhmd.models import DecoupledDistillation
from dhmd.nn.graph_distillation import EdgeWeights
from dhmd.training.load import load_network
from dhmd.training.train import train
from objectives import objective_of


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """Writes a file and names it; a name of its own each, because modules live as long as the process."""

    def name(stem, text, also=""):
        file = tmp_path / f"{stem}.py"
        file.write_text(text)
        monkeypatch.setenv("DHMD_EXTENSIONS", f"{also}{file}")
        return file

    return name


def test_what_a_file_defines_can_be_built_and_what_it_imports_cannot(extension):
    extension("ext_build", "from os import system\nimport os\nclass Mine:\n    def __init__(self, a): self.a = a\ndef _hidden(): pass\n")
    assert instantiate({"_target_": "ext_build.Mine", "a": 3}).a == 3
    assert [name for name, _ in definitions()] == ["ext_build.Mine"]
    for refused in ("ext_build.system", "ext_build.os.system", "ext_build._hidden", "os.system"):
        with pytest.raises(UsageError, match=r"is refused.*DHMD_EXTENSIONS"):
            instantiate({"_target_": refused})


def test_a_configuration_alone_loads_nothing(tmp_path, monkeypatch):
    (tmp_path / "ext_silent.py").write_text("raise SystemExit('code ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("DHMD_EXTENSIONS", raising=False)
    with pytest.raises(UsageError, match="refused"):
        instantiate({"_target_": "ext_silent.Anything"})
    assert extensions() == ()


@pytest.mark.parametrize(
    ("stem", "text", "said"),
    [
        ("ext_syntax", "x = 1\ndef f(:\n", r"ext_syntax.py, line 2: SyntaxError"),
        ("ext_raises", "\n\nimport not_a_module_at_all\n", r"line 3: ModuleNotFoundError"),
        ("torch", "x = 1", "there is another module 'torch'"),
        ("my-loss", "x = 1", "rename the file"),
    ],
)
def test_a_file_that_cannot_be_an_extension(extension, stem, text, said):
    extension(stem, text)
    with pytest.raises(UsageError, match=said):
        extensions()


def test_a_file_that_is_not_there(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DHMD_EXTENSIONS", str(tmp_path / "nowhere.py"))
    assert main(["train", "+objective.terms.x._target_=nowhere.X", "+objective.weights.x=1", f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    assert "nowhere.py: no such file" in capsys.readouterr().err


def test_one_file_under_two_paths_is_loaded_once(extension, tmp_path, monkeypatch):
    extension("ext_once", "class Mine: pass\n")
    first = extensions()[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DHMD_EXTENSIONS", "ext_once.py")
    assert extensions() == (first,)


LEARNED = """
import torch
from torch import nn

class Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.target = nn.Parameter(torch.tensor(5.0))
    def forward(self, outputs, batch):
        return (outputs.prediction.mean() - self.target).square()
"""


def test_parameters_of_a_term_are_trained_and_come_back_with_the_run(extension, tiny, tmp_path, no_figures, monkeypatch):
    file = extension("ext_learned", LEARNED)
    own = ["+objective.terms.own._target_=ext_learned.Learned", "+objective.weights.own=0.1", "trainer.max_epochs=1"]
    run = train(tiny(tmp_path / "run", *own)).run_dir
    target = load_network(run).module.objective.terms["own"].target
    assert target.item() != 5.0
    recorded = json.loads((run / "environment.json").read_text())["extensions"]["ext_learned"]
    assert recorded == described()["ext_learned"]
    assert recorded["file"] == str(file)
    assert "train/own" in (run / "history.csv").read_text()
    monkeypatch.delenv("DHMD_EXTENSIONS")
    with pytest.raises(UsageError, match=r"ext_learned.Learned.*DHMD_EXTENSIONS"):
        load_network(run)


SPEC = FeatureSpec(dims={"language": 5, "vision": 4}, lengths={"language": 6, "vision": 6}, aligned=True)


def batch(n=3):
    return FeatureBatch.from_arrays(**{m: np.random.default_rng(0).normal(size=(n, 6, d)) for m, d in SPEC.dims.items()})


class Halves(nn.Module):
    """A decoupling that halves."""

    def __init__(self, modalities, width, summary):
        super().__init__()
        self.similarity = nn.ModuleDict({m: nn.Linear(summary(m).out_dim, width) for m in modalities})
        self.summary = nn.ModuleDict({m: summary(m) for m in modalities})

    def forward(self, projected, masks):
        half = {m: x / 2 for m, x in projected.items()}
        similarity = {m: self.similarity[m](self.summary[m](x, masks[m])) for m, x in half.items()}
        return {
            "projected": projected,
            "shared": half,
            "private": half,
            "reconstruction": projected,
            "cycle": half,
            "similarity": similarity,
        }


class Identity(nn.Module):
    """An attention that attends to nothing."""

    def __init__(self, modalities, width, heads, layers):
        super().__init__()
        self.out_dim = width

    def forward(self, private, masks):
        return dict(private)


class Ring(nn.Module):
    """Edges from each modality to the next, all alike."""

    def __init__(self, modalities, logit_dim, repr_dim):
        super().__init__()
        self.pairs = tuple(zip(modalities, modalities[1:] + modalities[:1], strict=True))

    def forward(self, logits, representations):
        weights = next(iter(logits.values())).new_full((len(next(iter(logits.values()))), len(self.pairs)), 1 / len(self.pairs))
        return EdgeWeights(weights, weights, None)


def test_stages_of_ones_own_stand_where_the_suites_would():
    network = DecoupledDistillation(
        SPEC, width=8, heads=2, layers=1, kernels=3, decoupling=Halves, cross_modal_attention=Identity, homogeneous={"distillation": Ring}
    )
    found = network(batch())
    torch.testing.assert_close(found.decoupled.private["vision"] * 2, found.decoupled.projected["vision"])
    torch.testing.assert_close(found.heterogeneous.sequences["vision"], found.decoupled.private["vision"])
    assert found.homogeneous.edges.pairs == (("language", "vision"), ("vision", "language"))
    weights = {"task_fused": 1.0, "reconstruction": 1.0, "homogeneous_logit": 1.0}
    terms = objective_of(SPEC, network=network, weights=weights)(found, replace(batch(), label=torch.zeros(3)))
    assert terms["reconstruction"] == 0
    terms["total"].backward()
    assert {"graph_units", "network"} & set(network.parameter_groups())


@pytest.mark.parametrize("stage", [{"homogeneous": {"dictionary": lambda m, d: object()}}, {"decoupling": lambda *a: None}])
def test_a_factory_that_makes_no_stage(stage):
    with pytest.raises(UsageError, match="the factory gave"):
        DecoupledDistillation(SPEC, width=8, heads=2, layers=1, kernels=3, **stage)


LAYOUT = """
class Rows:
    name = "{name}"
    describes = "a tuple"
    def fits(self, content): return isinstance(content, tuple)
    def canonical(self, content, path, keys):
        from dhmd.data.layouts import Canonical
        return Canonical(content[0], keys or {{"language": "text", "vision": "vision"}})
"""


def rows():
    rng = np.random.default_rng(0)
    return tuple(
        [
            {
                s: {
                    "id": [f"{s}{i}" for i in range(4)],
                    "text": rng.normal(size=(4, 5, 3)).astype("float32"),
                    "vision": rng.normal(size=(4, 5, 2)).astype("float32"),
                    "regression_labels": rng.uniform(-3, 3, 4),
                }
                for s in ("train", "valid", "test")
            }
        ]
    )


def test_a_layout_of_ones_own_is_seen_and_can_be_asked_for(extension, tmp_path):
    file = tmp_path / "rows.pkl"
    file.write_bytes(pickle.dumps(rows()))
    extension("ext_rows", LAYOUT.format(name="rows"))
    assert list(layouts()) == ["rows", *LAYOUTS]
    for asked in (None, "rows"):
        assert Store(open_or_convert(file, layout=asked)).layout == "rows"
    with pytest.raises(UsageError, match=r"found 'row', expected one of rows, folder"):
        open_or_convert(file, layout="row", output=tmp_path / "other.h5")


def test_a_layout_whose_name_is_taken(extension):
    extension("ext_taken", LAYOUT.format(name="mmsa"))
    with pytest.raises(UsageError, match="'mmsa' is taken"):
        layouts()
