"""The one door between a configuration and code."""

import re
import sys

import pytest
from omegaconf import OmegaConf

from dhmd.app import compose
from dhmd.batch import FeatureSpec
from dhmd.config import TARGETS, _locate, closest, conf_dir, instantiate, to_plain
from dhmd.config_guard import PLUGINS, refuse_foreign
from dhmd.errors import UsageError
from dhmd.training.accumulation import MeanAccumulation

MEAN = "dhmd.training.accumulation.MeanAccumulation"
OPTIMISATION = "dhmd.training.optimisation.Optimisation"


def test_what_is_listed_is_built_nested_ones_first():
    config = OmegaConf.create({"_target_": OPTIMISATION, "lr": 0.5, "accumulation": {"_target_": MEAN, "batches": "${n}"}, "n": 3})
    del config["n"]
    config = OmegaConf.create({"n": 3, "o": config}).o
    built = instantiate(config)
    assert built.lr == 0.5
    assert isinstance(built.accumulation, MeanAccumulation)
    assert built.accumulation.batches == 3


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.eval", "dhmd.training.accumulation.os", "subprocess.run", f"{MEAN}.__init__", f" {MEAN}", None, 3]
)
@pytest.mark.parametrize("place", ["top", "nested", "in a list"])
def test_anything_else_is_refused_by_name_before_it_is_imported(target, place):
    node = {"_target_": target, "command": "exit 1"}
    config = {"top": node, "nested": {"_target_": OPTIMISATION, "accumulation": node}, "in a list": [{"a": [node]}]}[place]
    with pytest.raises(UsageError, match="is refused: a configuration may only build what"):
        instantiate(config)


def test_a_refused_module_is_not_imported():
    assert "this" not in sys.modules
    with pytest.raises(UsageError, match="is refused"):
        instantiate({"_target_": "this.s"})
    assert "this" not in sys.modules


def test_objects_handed_over_stay_what_they_are():
    spec = FeatureSpec(dims={"language": 3}, lengths={"language": 4})
    network = instantiate({"_target_": "dhmd.models.TextOnly"}, "model", spec=spec)
    assert network.head.in_features == 3


def test_partial_binds_arguments():
    make = instantiate({"_target_": MEAN, "_partial_": True, "batches": 2})
    assert make(clip_value=0.5).clip_value == 0.5


def test_plain_values_come_back():
    assert instantiate(None) is None
    assert instantiate({"a": [1, {"b": "x"}]}) == {"a": [1, {"b": "x"}]}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": MEAN, "batchs": 2}, r"unexpected keyword argument 'batchs'; did you mean batches\?"),
        ({"_target_": MEAN, "batches": "two"}, r"here\.batches: found 'two', expected a whole number"),
        ({"_target_": MEAN, "batches": True}, "found True, expected a whole number"),
        ({"_target_": MEAN, "clip_value": "no"}, "expected a number or null"),
        ({"_target_": MEAN, "batches": 0}, "here: batches: found 0, expected at least 1"),
        ({"_target_": OPTIMISATION, "lr": "fast"}, "expected a number"),
    ],
)
def test_wrong_arguments_are_named(node, message):
    with pytest.raises(UsageError, match=message):
        instantiate(node, "here")


def test_what_cannot_be_resolved_is_named():
    with pytest.raises(UsageError, match=r"a\.path is not set; .*a\.path=VALUE"):
        to_plain(OmegaConf.create({"a": {"path": "???"}}))
    with pytest.raises(UsageError, match=r"a: .*nowhere"):
        to_plain(OmegaConf.create({"a": "${nowhere}"}))


def test_closest():
    assert closest("widht", ["width", "height", "depth"]) == "; did you mean width?"
    assert closest("zzz", ["width"]) == ""


def test_the_folder_of_configs_is_found():
    assert (conf_dir() / "train.yaml").is_file()


def test_every_target_in_conf_is_listed_and_every_listed_one_exists():
    used = {name for file in conf_dir().rglob("*.yaml") for name in re.findall(r"_target_: ([\w.]+)", file.read_text())}
    assert "dhmd.losses.PredictionLoss" in used
    for target in used - {*TARGETS, *PLUGINS["hydra.sweeper"]}:
        assert callable(_locate(target, "")), target
    for target in TARGETS:
        module, _, name = target.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name), target


def test_compose_for_python():
    cfg = compose(["model=dmd", "ablation=full", "run_dir=somewhere", "seed=3"])
    assert "hydra" not in cfg
    assert to_plain(cfg)["labels"] == {"model": "dmd", "data": "demo", "text_encoder": "features", "ablation": "full", "experiment": None}
    assert cfg.data.seed == 3


def test_the_authors_model_brings_its_objective_and_optimisation():
    cfg = compose(["model=dmd_authors", "run_dir=x"])
    assert cfg.optimisation.accumulation._target_.endswith("SumAccumulation")
    assert cfg.optimisation.validation_loss._target_.endswith("RoundedBatchMean")
    assert cfg.objective.terms.orthogonality.axis == "batch"
    assert compose(["model=dmd_authors", "optimisation=default", "run_dir=x"]).optimisation.accumulation._target_ == MEAN


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("hydra.callbacks.x", {"_target_": "hydra_plugins.dhmd_sweeps.process_launcher.Path.write_text"}),
        ("hydra.launcher.x", {"_target_": "hydra_plugins.dhmd_sweeps.process_launcher.ProcessLauncher"}),
        ("hydra.launcher", {"_target_": "hydra_plugins.dhmd_sweeps.process_launcher.Path.write_text"}),
        ("hydra.launcher", {"_target_": "hydra_plugins.dhmd_sweeps.sweeper.Sweeper"}),
        ("hydra.sweeper", {"_target_": "hydra._internal.core_plugins.basic_sweeper.Path"}),
    ],
)
def test_plugins_stand_where_plugins_belong_and_nothing_beside_them(path, value):
    node = value
    for name in reversed(path.split(".")[1:]):
        node = {name: node}
    with pytest.raises(UsageError, match="may not name code"):
        refuse_foreign(node, "hydra")


def test_every_launcher_and_sweeper_of_ours_is_allowed():
    for where, names in PLUGINS.items():
        for name in names:
            refuse_foreign({where.partition(".")[2]: {"_target_": name}}, "hydra")
