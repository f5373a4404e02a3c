"""Folders of sweeps and jobs: readable, the same for the same command, never two for one."""

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from dhmd.sweeps.naming import hydra_flags, job_name, quoted, sweep_name

VALUES = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r"), max_size=60)


def test_names_are_read_easily():
    assert job_name(["ablation", "seed"], ["model=dmd", "ablation=no_gd", "seed=1111"]) == "ablation-no_gd,seed-1111"
    assert job_name(["model.homogeneous.dictionary.temperature"], ["model.homogeneous.dictionary.temperature=0.5"]) == "temperature-0.5"
    assert job_name([], ["model=dmd"]) == "job"


def test_keys_of_one_last_part_are_written_out():
    keys = ["model.homogeneous.dictionary.entries", "model.heterogeneous.dictionary.entries"]
    assert job_name(keys, [f"{k}=8" for k in keys]) == "model.homogeneous.dictionary.entries-8,model.heterogeneous.dictionary.entries-8"


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=6, unique=True))
def test_different_values_have_different_folders_that_any_file_system_takes(pairs):
    names = [job_name(["a", "b.c"], [f"a={a}", f"b.c={c}"]) for a, c in pairs]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[\w.+,-]+", name, re.ASCII)
        assert len(name) < 140
        assert not name.startswith(".")


def test_what_only_says_how_a_sweep_is_run_is_not_in_its_name():
    base = ["model=dmd", "seed=1,2"]
    name = sweep_name(None, ["seed"], base)
    assert name.startswith("seed-")
    assert sweep_name(None, ["seed"], [*base, "launcher=process", "hydra.launcher.n=4", "logger=none", "data.num_workers=2"]) == name
    assert sweep_name(None, ["seed"], list(reversed(base))) == name
    assert sweep_name(None, ["seed"], ["model=dhmd", "seed=1,2"]) != name
    assert sweep_name("seeds", ["seed"], base) != name
    assert sweep_name("seeds", ["seed"], base).startswith("seeds-")


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40))
def test_any_folder_can_be_an_override(text):
    (override,) = OverridesParser.create().parse_overrides([f"a={quoted(text)}"])
    assert override.value() == text


def test_flags_of_the_command_line_are_found_in_both_forms():
    assert hydra_flags(["-m", "--config-dir", "a b", "seed=1", "-cn=x"]) == ["--config-dir=a b", "-cn=x"]
    assert hydra_flags(["-m", "seed=1"]) == []
