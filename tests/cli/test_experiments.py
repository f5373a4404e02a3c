"""Every experiment file composes, and its network learns from one batch of data of the right widths."""

import math

import pytest
import torch

from dhmd.app import compose
from dhmd.config import conf_dir, to_plain
from dhmd.errors import UsageError
from dhmd.nn.text import GivenFeatures
from dhmd.training.build import build_data, build_module

EXPERIMENTS = sorted(str(p.relative_to(conf_dir() / "experiment").with_suffix("")) for p in (conf_dir() / "experiment").rglob("*.yaml"))
WIDTHS = {"mosi": {"language": 768, "vision": 20, "acoustic": 5}, "mosei": {"language": 768, "vision": 35, "acoustic": 74}}
FREE = ["++data.aligned=null", "data.label_range=[-3,3]", "data.group_by=video", "data.test_groups=null"]
NETWORKS = sorted(p.stem for p in (conf_dir() / "model").glob("*.yaml"))
REPRO = [name for name in EXPERIMENTS if name.startswith("repro/")]


def stand_in(experiment):
    """Synthetic clips in the place of the published file."""
    if experiment in ("demo", "four_modalities"):
        return []
    model_data = experiment.removeprefix("repro/")
    widths = WIDTHS["mosei" if "mosei" in model_data else "mosi"]
    options = {
        "n_train": 8,
        "n_valid": 8,
        "n_test": 8,
        "length": 12,
        "aligned": not experiment.endswith("unaligned"),
        "dims": widths,
        "seed": 0,
    }
    text = str(options).replace("'", "").replace("True", "true").replace("False", "false")
    return [f"++data.synthetic={text}", "data.non_finite=zero", "data.expects=null", *FREE, "text_encoder=features"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment(experiment, corpus):
    cfg = compose([f"experiment={experiment}", *stand_in(experiment), f"data.cache_dir={corpus}", "run_dir=unused"])
    config = to_plain(cfg)
    assert config["labels"]["experiment"] == experiment
    if "layers" in config["model"]:
        config["model"]["layers"] = 1
    encoder = GivenFeatures()
    data = build_data(config, encoder, batch_size=4)
    module = build_module(config, encoder, data.spec)
    batch = next(iter(data.train_dataloader()))
    optimizer = module.optimisation.optimizer(module.network.parameter_groups())
    before = [p.detach().clone() for p in module.network.parameters()]
    loss = module.objective(module(batch), batch)["total"]
    module.optimisation.accumulation.batches = 1
    module.optimisation.accumulation.add(loss, torch.Tensor.backward, optimizer, last=True)
    assert math.isfinite(loss.item())
    assert any(not torch.equal(a, b) for a, b in zip(before, module.network.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["demo", "probe_swapped", "minilm_frozen", "mustard", "ur_funny"])
def test_an_experiment_sizes_the_network_that_is_chosen(experiment):
    """Not the one that it was written for: a `dmd` gets no dictionary, and the control trains as it is."""
    models = {m: to_plain(compose([f"experiment={experiment}", f"model={m}", "data.path=/x", "run_dir=unused"]))["model"] for m in NETWORKS}
    assert models["text_only"] == {"_target_": "dhmd.models.TextOnly", "dropout": 0.0}
    for name in ("dmd", "dmd_authors", "dhmd"):
        assert models[name]["width"] == 30, name
        assert (models[name]["homogeneous"]["dictionary"] is None) == (name != "dhmd")
    sizes = {name: [models[name][key] for key in ("width", "heads", "layers")] for name in ("dmd", "dmd_authors", "dhmd")}
    assert sizes["dmd"] == sizes["dmd_authors"] == sizes["dhmd"]


def test_scales_have_a_file_for_networks_that_there_are():
    folder = conf_dir() / "scale"
    assert {p.stem for p in folder.glob("*/*.yaml")} < set(NETWORKS)
    assert {p.name for p in folder.iterdir() if p.is_dir()} | {"full"} == {p.stem for p in folder.glob("*.yaml")}
    with pytest.raises(UsageError, match="demo, full, minilm_frozen, narrow"):
        compose(["scale=dem", "run_dir=unused"])


# SPEC of the authors' config, by data set: d, heads, kernels (L, V, A), attention dropout by source (L, V, A), embedding, text
VALUES = {
    "mosi": (50, 10, {"language": 5, "vision": 5, "acoustic": 5}, {"language": 0.3, "vision": 0.0, "acoustic": 0.2}, 0.2, 0.5),
    "mosei": (30, 6, {"language": 5, "vision": 3, "acoustic": 1}, {"language": 0.4, "vision": 0.0, "acoustic": 0.0}, 0.0, 0.3),
}


@pytest.mark.parametrize("experiment", REPRO)
def test_reproductions_have_the_authors_values(experiment):
    config = to_plain(compose([f"experiment={experiment}", "run_dir=unused"]))
    dataset = "mosei" if "mosei" in experiment else "mosi"
    width, heads, kernels, attention, embedding, text = VALUES[dataset]
    model, optimisation = config["model"], config["optimisation"]
    found = model["kernels"] if isinstance(model["kernels"], dict) else dict.fromkeys(kernels, model["kernels"])
    assert (model["width"], model["heads"], model["layers"], found) == (width, heads, 4, kernels)
    dropout = {"relu": 0.0, "residual": 0.0, "output": 0.5, "memory": attention["language"], "embedding": embedding, "text": text}
    assert model["dropout"] == {"attention": attention, **dropout}
    assert (config["data"]["batch_size"], optimisation["lr"], optimisation["interval"]) == (16, 1e-4, "epoch")
    adam = {"_target_": "torch.optim.Adam", "_partial_": True, "weight_decay": 0.0, "fused": True}
    plateau = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True, "mode": "min", "factor": 0.5, "patience": 5}
    assert (optimisation["optimizer"], optimisation["scheduler"]) == (adam, plateau)
    assert (optimisation["no_decay"], optimisation["group_weight_decay"]) == (False, {})
    assert (optimisation["accumulation"]["batches"], optimisation["accumulation"]["clip_value"]) == (10, 0.6)
    assert config["callbacks"]["early_stopping"]["patience"] == 10
    assert config["text_encoder"]["frozen"] is False
    assert config["data"]["name"] == experiment.partition("_")[2].removeprefix("authors_")


def test_there_is_a_reproduction_for_every_model_data_set_and_alignment():
    expected = {f"repro/{m}_{d}_{a}" for m in ("dmd", "dhmd", "dmd_authors") for d in VALUES for a in ("aligned", "unaligned")}
    assert expected == set(REPRO)


@pytest.mark.parametrize(
    "group", ["debug", "ablation", "trainer", "logger", "callbacks", "optimisation", "objective", "model", "text_encoder", "data"]
)
def test_every_choice_of_every_group_composes(group):
    for file in sorted((conf_dir() / group).glob("[!_]*.yaml")):
        to_plain(compose([f"{group}={file.stem}", "run_dir=unused"]))
