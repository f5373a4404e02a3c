"""conf/data and the catalog of published files."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from dhmd.app import compose
from dhmd.config import to_plain
from dhmd.data.catalog import identify, published_files
from dhmd.data.module import FeatureDataModule
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.errors import UsageError

CONF = Path(__file__).parents[2] / "conf" / "data"
PUBLISHED = ["mosei_aligned", "mosei_unaligned", "mosi_aligned", "mosi_unaligned", "sims_unaligned"]
NAMES = sorted([*PUBLISHED, "custom", "demo", "demo_four", "mustard", "mustard_text", "sims_aligned", "sims_v2", "ur_funny"])
SIMS = ["sims_aligned", "sims_unaligned", "sims_v2"]


def load(name: str) -> dict[str, Any]:
    whole: dict[str, Any] = to_plain(compose([f"data={name}", "seed=1", "run_dir=x"]))
    assert whole["convention"] == ("sims" if name in SIMS else "mosi")
    config: dict[str, Any] = whole["data"]
    assert config.pop("_target_") == "dhmd.data.module.FeatureDataModule"
    assert config["seed"] == 1
    return config


def test_the_data_sets_are_these() -> None:
    assert sorted(p.stem for p in CONF.glob("[!_]*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_config_names_every_option_and_itself(name: str) -> None:
    config = load(name)
    assert config["name"] == name
    options = set(inspect.signature(FeatureDataModule).parameters) - {"tokenizer", "tokens_required"}
    assert set(config) | {"synthetic"} == options
    if name.startswith("demo"):
        assert set(config["synthetic"]) <= set(inspect.signature(SyntheticOptions).parameters)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_set_without_its_file_names_it(name: str) -> None:
    config = load(name)
    assert config["expects"] == name
    assert config["aligned"] == name.endswith("_aligned")
    with pytest.raises(UsageError) as error:
        FeatureDataModule(**config).setup()
    file = published_files()[name]
    assert file.sha256 in str(error.value)
    assert file.file in str(error.value)
    assert ("un" in name) == ("unaligned_" in file.file)


def test_standardisation_is_on_where_it_should_be() -> None:
    assert {n for n in NAMES if load(n)["standardise"]} == {"custom", "demo", "demo_four", "mustard", "ur_funny"}


def test_the_convention_follows_the_data_set() -> None:
    assert compose(["data=sims_unaligned", "run_dir=x"]).convention == "sims"
    assert compose(["data=sims_v2", "convention=mosi", "run_dir=x"]).convention == "mosi"
    assert compose(["data=mosi_aligned", "run_dir=x"]).convention == "mosi"


def test_the_demo_follows_its_config(cache: Path) -> None:
    config = load("demo")
    module = FeatureDataModule(**config)
    module.setup()
    assert module.description()["samples"] == {"train": 640, "valid": 160, "test": 320}


def test_published_files_are_known_by_their_sha256() -> None:
    files = published_files()
    assert len({f.sha256 for f in files.values()}) == len(files) == 5
    for name, file in files.items():
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.source
        assert identify(file.sha256.upper()) == file
        assert file.name == name
    assert identify("0" * 64) is None
