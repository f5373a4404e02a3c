"""Rows that count as the same, and entries that cannot be edited unnoticed."""

import json

import pytest

from dhmd.errors import RunError
from dhmd.results.summary import entries_from_json, entries_to_json, entry_of, tables_of
from dhmd.runs.reader import read_run
from fabricated import make_run


def entry(folder, **options):
    return entry_of(read_run(make_run(folder, n=20, epochs=4, stages=(), **options)))


def test_an_entry_says_what_a_table_needs(tmp_path):
    found = entry(tmp_path / "sweep/a", seed=3, model="dmd", ablation="no_prior")
    assert (found.run, found.model, found.ablation, found.seed, found.samples["test"]) == ("sweep/a", "dmd", "no_prior", 3, 20)
    assert found.test == read_run(tmp_path / "sweep/a").test


def test_seeds_and_folders_do_not_make_a_row(tmp_path):
    (table,) = tables_of([entry(tmp_path / f"s{s}", seed=s) for s in (3, 1, 2)])
    (group,) = table.groups
    assert group.seeds == (1, 2, 3)


@pytest.mark.parametrize("options", [{"model": "dmd"}, {"ablation": "x"}, {"text_encoder": "minilm"}, {"config": {"model": {"width": 30}}}])
def test_what_makes_a_row(tmp_path, options):
    (table,) = tables_of([entry(tmp_path / "a"), entry(tmp_path / "b", **options)])
    assert [len(group.entries) for group in table.groups] == [1, 1]
    assert table.repeats == ()


@pytest.mark.parametrize("options", [{"data": "other"}, {"synthetic": False}, {"aligned": False}])
def test_what_makes_a_table(tmp_path, options):
    assert len(tables_of([entry(tmp_path / "a"), entry(tmp_path / "b", **options)])) == 2


def test_a_repeated_seed_is_named_and_counted_once(tmp_path):
    (table,) = tables_of([entry(tmp_path / "a"), entry(tmp_path / "b"), entry(tmp_path / "c", seed=2)])
    (group,) = table.groups
    assert [e.run.split("/")[1] for e in group.entries] == ["b", "c"]
    assert [e.run.split("/")[1] for e in table.repeats] == ["a"]


def test_a_metric_some_run_lacks_has_no_summary(tmp_path):
    folder = make_run(tmp_path / "b", seed=2, n=20, epochs=4, stages=())
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["test"]["corr"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (table,) = tables_of([entry(tmp_path / "a"), entry_of(read_run(folder))])
    assert table.groups[0].summary("corr") is None
    assert table.groups[0].summary("mae").n == 2


def test_entries_survive_json(tmp_path):
    entries = [entry(tmp_path / "a"), entry(tmp_path / "b", seed=2, aligned=None)]
    assert entries_from_json(json.loads(json.dumps(entries_to_json(entries)))) == entries


@pytest.mark.parametrize("edit", [lambda e: e["test"].update(acc7=0.99), lambda e: e.update(seed=7), lambda e: e.pop("digest")])
def test_an_edited_entry_is_refused(tmp_path, edit):
    plain = json.loads(json.dumps(entries_to_json([entry(tmp_path / "a")])))
    edit(plain[0])
    with pytest.raises(RunError, match="does not fit its digest"):
        entries_from_json(plain)


def test_an_entry_of_other_fields_is_refused(tmp_path):
    plain = entries_to_json([entry(tmp_path / "a")])
    del plain[0]["task"]
    with pytest.raises(RunError, match=r"expected .*'task'"):
        entries_from_json(plain)
