"""The files `wandb sweep` takes: they fit W&B's schema, and every command its agent would make of them is a training of ours."""

import itertools
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from offline_runs import offline_files, read_offline
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from dhmd.app import compose
from dhmd.cli import main
from tiny_runs import DICTIONARIES, TINY

FILES = sorted((Path(__file__).parents[2] / "wandb_sweeps").glob("*.yaml"))
SCHEMA = json.loads((Path(__file__).parent / "wandb_sweep_schema.json").read_text())  # of W&B's package sweeps 0.3.0 (MIT licence)


def read(file):
    return yaml.safe_load(file.read_text())


def edges(parameter):
    """Values to try: all of a list, the ends of a range."""
    return parameter.get("values") or [parameter["min"], parameter["max"]]


def agent_command(sweep, values):
    """Commands that W&B's agent runs: its macros are whole words of the command."""
    made = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}}) | {"env": ["/usr/bin/env"]}
    words = [[word] if not re.fullmatch(r"\$\{\w+\}", word) else made[word[2:-1]] for word in create_sweep_command(sweep["command"])]
    return list(itertools.chain.from_iterable(words))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_the_file_fits_wandbs_schema(file):
    jsonschema.validate(read(file), SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**read(file), "method": "guess"}, SCHEMA)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_command_of_the_agent_composes(file):
    sweep = read(file)
    first = {key: edges(parameter)[0] for key, parameter in sweep["parameters"].items()}
    for key, parameter in sweep["parameters"].items():
        for value in edges(parameter):
            words = agent_command(sweep, {**first, key: value})
            assert words[:3] == ["/usr/bin/env", "dhmd", "train"]
            cfg = compose([*(word for word in words[3:] if not word.startswith("hydra.")), "run_dir=."])
            assert cfg.logger.wandb.mode == "online"
            found = cfg.labels.ablation if key == "ablation" else cfg
            assert found == value if key == "ablation" else select(found, key) == pytest.approx(value)


def select(cfg, key):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


@pytest.mark.usefixtures("no_figures")
def test_a_job_of_an_agent_is_the_run_the_agent_has_named(tmp_path, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep123")
    monkeypatch.setenv("WANDB_RUN_ID", "run45678")
    words = agent_command(read(FILES[0]), {"ablation": "no_gd", "seed": 1113})
    small = [*(word for word in TINY if not word.startswith(("logger", "data=", "trainer.max_epochs"))), *DICTIONARIES]
    assert main([*words[2:], *small, f"data.cache_dir={corpus}", "logger.wandb.mode=offline", "trainer.max_epochs=1"]) == 0
    run_dir = tmp_path / "runs" / "wandb" / "sweep123" / "run45678"
    assert (run_dir / "DONE").exists()
    assert (run_dir / "wandb_id").read_text() == "run45678"
    (file,) = offline_files(run_dir)
    found = read_offline(file)
    assert (found.run.run_id, found.run.sweep_id, list(found.run.tags)) == ("run45678", "sweep123", ["demo", "dhmd", "no_gd"])
    assert found.column("validation/loss")
