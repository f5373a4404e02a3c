"""Configurations and checkpoints of earlier versions, brought into today's form: dictionary against dictionary."""

import copy
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from dhmd.errors import RunError, UsageError
from dhmd.runs import upgrade
from dhmd.runs.upgrade import check_rebuilds, old_key_message, refuse_old_keys, upgraded_checkpoint, upgraded_config

OLD_OBJECTIVE = {
    "_target_": "dhmd.losses.Objective",
    "weights": dict.fromkeys(upgrade.TERMS, 0.5),
    "margin": 0.3,
    "orthogonality_axis": "batch",
    "heterogeneous_representation": "repel_mean",
    "matching": "infonce",
    "terms": {},
}
OLD_OPTIMISATION = {
    "_target_": "dhmd.training.optimisation.Optimisation",
    "lr": 0.01,
    "group_lr": {"dictionaries": None},
    "weight_decay": 0.1,
    "factor": 0.2,
    "patience": 7,
    "accumulation": {"_target_": "dhmd.training.accumulation.SumAccumulation", "batches": 4, "clip_value": None},
    "validation_loss": {"_target_": "dhmd.training.validation_loss.RoundedBatchMean"},
}
NEW_OPTIMISATION = {
    "_target_": "dhmd.training.optimisation.Optimisation",
    "lr": 0.01,
    "group_lr": {"dictionaries": None},
    "group_weight_decay": {},
    "no_decay": False,
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "weight_decay": 0.1, "fused": True},
    "scheduler": {
        "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "_partial_": True,
        "mode": "min",
        "factor": 0.2,
        "patience": 7,
    },
    "interval": "epoch",
    "accumulation": {
        "_target_": "dhmd.training.accumulation.SumAccumulation",
        "batches": 4,
        "clip_value": None,
        "clip_norm": None,
    },
    "validation_loss": {"_target_": "dhmd.training.validation_loss.RoundedBatchMean"},
}


def term(name, **options):
    return {"_target_": f"dhmd.losses.{name}", **options}


NEW_TERMS = {
    "task_fused": term("PredictionLoss"),
    "task_shared": term("SharedLoss"),
    "task_homogeneous": term("UnimodalLoss", space="homogeneous"),
    "task_heterogeneous": term("UnimodalLoss", space="heterogeneous"),
    "reconstruction": term("Reconstruction"),
    "cycle": term("Cycle"),
    "orthogonality": term("Orthogonality", axis="batch"),
    "margin": term("Margin", margin=0.3),
    "homogeneous_logit": term("LogitDistillation", space="homogeneous"),
    "homogeneous_regularity": term("Regularity", space="homogeneous"),
    "homogeneous_representation": term("RepresentationDistillation", space="homogeneous", kind="imitate"),
    "homogeneous_matching": term("Matching", space="homogeneous", loss="infonce", margin=0.3),
    "heterogeneous_logit": term("LogitDistillation", space="heterogeneous"),
    "heterogeneous_regularity": term("Regularity", space="heterogeneous"),
    "heterogeneous_representation": term("RepresentationDistillation", space="heterogeneous", kind="repel_mean"),
    "heterogeneous_matching": term("Matching", space="heterogeneous", loss="infonce", margin=0.3),
}
SINGLE = {"_target_": "dhmd.training.steps.SingleStep"}


@pytest.fixture(scope="module")
def recorded():
    """Configuration of a finished run, as the version before wrote it."""
    with zipfile.ZipFile(Path(__file__).with_name("old_runs.zip")) as runs:
        return yaml.safe_load(runs.read("finished/config.yaml"))


def test_optimisation():
    assert upgraded_config({"optimisation": OLD_OPTIMISATION})["optimisation"] == NEW_OPTIMISATION


def test_objective():
    found = upgraded_config({"objective": OLD_OBJECTIVE})["objective"]
    task = term("TaskLoss", regression="l1", class_weights=None, label_smoothing=0.0)
    assert found == {"_target_": "dhmd.losses.Objective", "task": task, "weights": OLD_OBJECTIVE["weights"], "terms": NEW_TERMS}
    assert list(found["terms"]) == list(NEW_TERMS), "the order of the sum"


def test_a_weight_that_was_not_given_was_zero():
    found = upgraded_config({"objective": {**OLD_OBJECTIVE, "weights": {"task_fused": 1.0}}})["objective"]
    assert found["weights"] == {**dict.fromkeys(NEW_TERMS, 0.0), "task_fused": 1.0}


def test_terms_of_the_users_own_are_kept_for_reading_and_refused_for_building():
    own = {**OLD_OBJECTIVE, "weights": {**OLD_OBJECTIVE["weights"], "mine": 0.1}, "terms": {"mine": {"_target_": "ext.Mine"}}}
    assert list(upgraded_config({"objective": own})["objective"]["terms"]) == [*NEW_TERMS, "mine"]
    with pytest.raises(RunError, match=r"objective\.terms\.mine: .* outputs and batch now"):
        check_rebuilds({"objective": own})
    check_rebuilds({"objective": OLD_OBJECTIVE})
    check_rebuilds(upgraded_config({"objective": own}))


def test_keys_that_were_added():
    assert upgraded_config({}) == {"evaluate_test": True, "step": SINGLE}
    assert upgraded_config({"trainer": {"max_epochs": 3}})["trainer"] == {"max_epochs": 3, "max_steps": -1, "max_time": None}
    given = {"evaluate_test": False, "step": {"_target_": "other"}, "trainer": {"max_steps": 9, "max_time": "00:01:00:00"}}
    assert upgraded_config(given) == given


@pytest.mark.parametrize("target", ["dhmd.nn.text.TextEncoder", "dhmd.nn.text.minilm"])
def test_text_encoders_had_no_frozen_layers(target):
    found = upgraded_config({"text_encoder": {"_target_": target, "frozen": True}})["text_encoder"]
    assert found == {"_target_": target, "frozen": True, "frozen_layers": 0}
    assert upgraded_config({"text_encoder": {"_target_": target, "frozen_layers": 3}})["text_encoder"]["frozen_layers"] == 3


def test_other_text_encoders_stay():
    for node in ({"_target_": "dhmd.nn.text.GivenFeatures"}, {"_target_": "dhmd.nn.text.bert_of_sizes"}, {"_target_": "ext.Own"}, None):
        assert upgraded_config({"text_encoder": node})["text_encoder"] == node


def test_targets_that_moved():
    callbacks = {"callbacks": {"epoch_line": {"_target_": "dhmd.training.progress.EpochLine"}, "others": [{"_target_": "x"}], "none": None}}
    found = upgraded_config(callbacks)["callbacks"]
    assert found == {"epoch_line": {"_target_": "dhmd.training.callbacks.EpochLine"}, "others": [{"_target_": "x"}], "none": None}


def test_removed_keys_go_and_nothing_else_of_their_group():
    config = {"seed": 1, "trainer": {"max_epochs": 2, "replicas": 1, "beside": None}}
    assert upgraded_config(config)["trainer"] == {"max_epochs": 2, "max_steps": -1, "max_time": None}
    assert config["trainer"].keys() == {"max_epochs", "replicas", "beside"}
    assert upgraded_config({"trainer": None})["trainer"] is None


@pytest.mark.parametrize("value", [{"replicas": 2}, {"replicas": True}, {"replicas": None}, {"beside": ["seed-2"]}])
def test_other_values_of_removed_keys_are_refused(value):
    for upgraded in (upgraded_config, refuse_old_keys):
        with pytest.raises(UsageError, match=f"trainer.{next(iter(value))}: found .* was removed"):
            upgraded({"trainer": value})


def test_a_recorded_configuration_is_left_as_it_was_and_upgraded_once(recorded):
    before = copy.deepcopy(recorded)
    found = upgraded_config(recorded)
    assert recorded == before
    assert upgraded_config(found) == found != before
    for group in ("seed", "convention", "labels", "data", "text_encoder", "model", "logger", "run_dir"):
        assert found[group] == before[group]
    found["objective"]["terms"]["margin"]["margin"] = found["optimisation"]["scheduler"]["factor"] = 9
    again = upgraded_config(recorded)
    assert again["objective"]["terms"]["margin"]["margin"] == 0.15
    assert again["optimisation"]["scheduler"]["factor"] == 0.5


def test_every_moved_key_has_its_value_where_the_message_says(recorded):
    found = upgraded_config({**recorded, "objective": OLD_OBJECTIVE, "optimisation": OLD_OPTIMISATION})
    for key, places in upgrade.MOVED.items():
        group, _, name = key.partition(".")
        for place in places if name else ():
            node = found
            for part in place.split("."):
                node = node[part]
            assert node == {"objective": OLD_OBJECTIVE, "optimisation": OLD_OPTIMISATION}[group][name], place
        if name:
            assert name not in found[group]


@pytest.mark.parametrize(
    ("key", "typed", "said"),
    [
        ("sizes", ["model=dmd", "sizes=demo"], "sizes is now scale: scale=demo"),
        ("sizes", [], "sizes is now scale"),
        ("optimisation.factor", ["optimisation.factor=0.3"], "optimisation.factor is now optimisation.scheduler.factor: optimisation.sch"),
        (
            "objective.matching",
            ["+objective.matching=infonce"],
            "objective.matching is now objective.terms.homogeneous_matching.loss and objective.terms.heterogeneous_matching.loss: "
            "objective.terms.homogeneous_matching.loss=infonce objective.terms.heterogeneous_matching.loss=infonce",
        ),
        ("trainer.replicas", ["trainer.replicas=4"], "trainer.replicas was removed; seeds run side by side"),
    ],
)
def test_what_a_user_is_told(key, typed, said):
    assert old_key_message(key, typed).startswith(said)


def test_other_keys_have_no_message():
    assert old_key_message("optimisation.lr", ["optimisation.lr=1"]) == old_key_message("") == ""


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("optimisation", "factor", 0.3),
        ("optimisation", "weight_decay", 0.1),
        ("objective", "margin", 0.2),
        ("objective", "matching", "hinge"),
    ],
)
def test_an_old_key_in_a_users_own_file_is_refused(recorded, group, key, value):
    now = upgraded_config(recorded)
    assert refuse_old_keys(now) == now
    with pytest.raises(UsageError, match=rf"{group}\.{key} is now {group}\."):
        refuse_old_keys({**now, group: {**now[group], key: value}})


def test_samples_of_an_epochs_means():
    sums = {"total": torch.ones(()), "task_fused": torch.zeros(())}
    checkpoint = {"state_dict": {}, "training": {"history": [], "means": {"sums": sums, "samples": 12}}}
    found = upgraded_checkpoint(checkpoint)
    assert found["training"] == {"history": [], "means": {"sums": sums, "samples": {"total": 12, "task_fused": 12}}}
    assert checkpoint["training"]["means"]["samples"] == 12
    assert upgraded_checkpoint(found) == found
    assert upgraded_checkpoint({"state_dict": {}}) == {"state_dict": {}}


def test_one_scale_of_infonce_became_two():
    checkpoint = {"state_dict": {"network.x": torch.zeros(1), "objective.log_scale": torch.tensor(2.5)}}
    found = upgraded_checkpoint(checkpoint)["state_dict"]
    scales = {f"objective.term_modules.{space}_matching.log_scale" for space in ("homogeneous", "heterogeneous")}
    assert set(found) == {"network.x", *scales}
    assert all(found[name] == 2.5 for name in scales)
    with pytest.raises(RunError, match=r"cannot be resumed, though it can be evaluated"):
        upgraded_checkpoint(checkpoint, resume=True)
