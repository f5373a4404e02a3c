"""The table of configuration keys, and everybody who asks it."""

import pytest
import yaml

from dhmd.app import compose
from dhmd.config import conf_dir, to_plain
from dhmd.runs.identity import KEYS, changed_on_resuming, digest, flattened, identifying, key_of, key_of_override, learned
from tiny_runs import DICTIONARIES, TINY

CONFIG = {
    "seed": 1,
    "convention": "mosi",
    "evaluate_test": True,
    "resume": False,
    "run_dir": "/a/b",
    "labels": {"model": "dhmd", "experiment": None},
    "data": {"name": "demo", "seed": 1, "path": "x", "cache_dir": None, "num_workers": 0, "in_memory": True},
    "text_encoder": {"source": "/a/b/encoder"},
    "model": {"width": 8},
    "objective": {"weights": {"margin": 0.1}},
    "optimisation": {"lr": 1e-3},
    "step": {"_target_": "single"},
    "trainer": {"max_epochs": 2, "precision": "32-true", "accelerator": "cpu", "devices": 1},
    "logger": {"csv": {"save_dir": "/a/b"}},
    "callbacks": {"checkpoints": {"dirpath": "/a/b/checkpoints"}, "early_stopping": {"patience": 10}},
}


def changed(key, value):
    """The configuration with another value at a dotted key."""
    *path, last = key.split(".")
    config = {k: dict(v) if isinstance(v, dict) else v for k, v in CONFIG.items()}
    node = config
    for part in path:
        node[part] = dict(node[part])
        node = node[part]
    node[last] = value
    return config


@pytest.mark.parametrize("overrides", [[], ["experiment=probe", "logger=all", "ablation=no_gd"], ["model=text_only", "debug=fast"]])
def test_every_top_level_key_of_a_configuration_is_in_the_table(overrides):
    composed = compose([*overrides, "run_dir=x"])
    missing = set(composed) - set(KEYS)
    assert not missing, f"dhmd.runs.identity.KEYS does not say what {missing} count for"


def test_every_top_level_key_of_the_file_is_in_the_table():
    assert set(yaml.safe_load((conf_dir() / "train.yaml").read_text())) - {"defaults"} <= set(KEYS)


def test_keys_below_the_top_are_keys_of_a_configuration():
    composed = flattened(to_plain(compose(["run_dir=x"])), keep_empty=True)
    optional = {"trainer.limit_train_batches", "trainer.overfit_batches"}  # of Lightning's, which conf/ leaves at their defaults
    assert {key for key in KEYS if "." in key} - optional <= set(composed)


def test_a_key_that_is_not_in_the_table_counts_as_its_parent():
    assert key_of("data.synthetic.seed") == KEYS["data"]
    assert key_of("logger.wandb.project") == KEYS["logger"]
    assert key_of("hydra/launcher") == key_of("hydra.launcher.n") == KEYS["hydra"]
    assert key_of("something.new").identifies
    assert not key_of("something.new").may_change


def test_a_digest_forgets_seed_names_places_and_machine_alone():
    free = {
        **{"seed": 2, "evaluate_test": False, "resume": True, "labels.model": "dmd", "labels.experiment": "demo", "data.seed": 2},
        **{"data.path": "y", "data.cache_dir": "c", "data.num_workers": 3, "data.in_memory": False, "logger": {}},
        **{"trainer.accelerator": "gpu", "trainer.devices": 2},
    }
    for key, value in free.items():
        assert digest(changed(key, value)) == digest(CONFIG), key
    counts = {
        **{"convention": "sims", "data.name": "mosi", "text_encoder": None, "model.width": 4, "objective.weights.margin": 0.2},
        **{"optimisation.lr": 1.0, "step._target_": "alternating", "trainer.max_epochs": 3, "trainer.precision": "bf16-mixed"},
        **{"callbacks.early_stopping.patience": 3},
    }
    for key, value in counts.items():
        assert digest(changed(key, value)) != digest(CONFIG), key


def test_a_digest_is_the_same_wherever_the_run_folder_lies():
    moved = yaml.safe_load(yaml.safe_dump(CONFIG).replace("/a/b", "/d"))
    assert identifying(moved)["callbacks.checkpoints.dirpath"] == identifying(CONFIG)["callbacks.checkpoints.dirpath"] == "/checkpoints"
    assert digest(moved) == digest(CONFIG)


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        *[("trainer.max_epochs", 9, True), ("trainer.devices", 2, True), ("callbacks.early_stopping.patience", 3, True)],
        *[("logger", {}, True), ("labels.model", "dmd", True), ("data.path", "y", True), ("data.in_memory", False, True)],
        *[("run_dir", "/d", True), ("resume", True, True), ("trainer.precision", "bf16-mixed", False), ("data.seed", 2, False)],
        *[("seed", 2, False), ("evaluate_test", False, False), ("model.width", 4, False), ("step._target_", "alternating", False)],
    ],
)
def test_what_may_change_on_resuming(key, value, kept):
    told = changed_on_resuming(CONFIG, changed(key, value))
    assert bool(told) != kept
    if not kept:
        before = flattened(CONFIG)[key]
        assert told == [f"{key} (recorded {before!r}, now {value!r})"]


def test_an_absent_key_is_called_so():
    without = {key: value for key, value in CONFIG.items() if key != "step"}
    assert changed_on_resuming(without, CONFIG) == ["step._target_ (recorded 'absent', now 'single')"]


def test_what_is_learned():
    parts = ["seed", "convention", "data", "text_encoder", "model", "objective", "optimisation", "step", "trainer"]
    assert sorted(learned(CONFIG)) == sorted(parts)
    assert learned({"seed": 3})["model"] is None


@pytest.mark.parametrize(
    ("override", "names_sweep", "of_run"),
    [
        *[("model=dmd", True, True), ("experiment=demo", True, True), ("data.path=x", True, True), ("trainer.max_epochs=3", True, True)],
        *[("logger=none", False, True), ("+logger.wandb.name=x", False, True), ("~logger.csv", False, True)],
        *[("data.num_workers=2", False, True), ("data.in_memory=false", False, True), ("data.cache_dir=c", False, True)],
        *[("launcher=process", False, False), ("hydra.launcher.n=4", False, False), ("hydra/launcher=joblib", False, False)],
        *[("resume=true", False, False), ("hparams_search=optuna", True, False), ("evaluate_test=false", True, True)],
        *[("--config-dir=own", True, True), ("scale@model=demo/dmd", True, True)],
    ],
)
def test_overrides(override, names_sweep, of_run):
    key = key_of_override(override)
    assert (key.names_sweep, key.of_run) == (names_sweep, of_run)


def test_flattened():
    tree = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], "f": {}}
    assert flattened(tree) == {"a.b": 1, "d": [1, {"e": 2}]}
    assert flattened(tree, "/", keep_empty=True) == {"a/b": 1, "a/c": {}, "d": [1, {"e": 2}], "f": {}}


def test_one_configuration_composed_twice_has_one_digest():
    one, other = (to_plain(compose([*TINY, *DICTIONARIES, f"run_dir=/{name}", f"seed={i}"])) for i, name in enumerate("ab"))
    assert digest(one) == digest(other)
