"""The page of dhmd report: what is on it, for every kind of run, and that nothing of a run can break out of its place."""

import base64
import hashlib
import json
import re
import shutil

import h5py
import numpy as np
import pytest
from well_formed import Page

from dhmd.cli import main
from dhmd.errors import RunError, UsageError
from dhmd.report import details as details_module
from dhmd.report.build import Limits, build
from dhmd.report.command import report
from dhmd.report.page import embedded, render
from fabricated import ALL_STAGES, make_run

SMALL = {"n": 40, "epochs": 5, "stages": ALL_STAGES}


def page_of(folder, **limits):
    found = build(folder, Limits(**limits))
    page = Page(render(found))
    assert page.wrong == []
    return found, page


def data_of(page):
    return json.loads(page.raw["application/json"])


@pytest.fixture
def no_projection(monkeypatch):
    """t-SNE takes seconds, and one test draws it."""
    monkeypatch.setattr(details_module, "embedding_panels", lambda record, task: [])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two configurations over three seeds, one of them an ablation, and a run that failed."""
    folder = tmp_path_factory.mktemp("study")
    for seed in (1, 2, 3):
        make_run(folder / f"full_{seed}", seed=seed, noise=0.5, **SMALL)
        make_run(folder / f"no_gd_{seed}", seed=seed, noise=1.5, ablation="no_gd", n=40, epochs=5, stages=("activations", "embeddings"))
    make_run(folder / "late", seed=9, done=False, **SMALL)
    return folder


def test_every_theme_of_a_study_is_on_the_page(study):
    found, page = page_of(study)
    assert (found.finished, [name for name, _ in found.missing]) == (6, [f"{study.name}/late"])
    assert [one.name for one in found.details] == ["dhmd, seed 1", "dhmd, no_gd, seed 1"]
    assert set(found.details[0].panels) == {"Curves", "Edges", "Dictionaries", "Embeddings", "Confusion"}
    titles = [picture.title for panel in found.details[0].panels["Edges"] for picture in panel.pictures]
    assert titles[:2] == ["prior", "learned, all test samples"]
    assert {"epoch 0", "epoch 2 (kept)", "epoch 4", "all samples"} <= set(titles)
    assert sum(title.startswith("learned, class") for title in titles) > 6
    embeddings = found.details[0].panels["Embeddings"]
    assert [picture.title for panel in embeddings for picture in panel.pictures] == ["by label", "by modality"] * 2
    assert "the run has not finished" in page.words
    assert page.words.count("synthetic data") > 6
    assert "no graph distillation unit, so no edges" in page.words


def test_the_table_and_the_forest_have_the_numbers_of_dhmd_results(study, no_projection, capsys):
    found, _ = page_of(study)
    (table,) = found.results
    mae = table.header.index("MAE ↓")
    assert main(["results", str(study), "--metrics", "mae"]) == 0
    out = capsys.readouterr().out
    for row in table.rows:
        shown = f"{row[mae].text} {row[mae].note}"
        assert shown in out, (shown, out)
    (ablation,) = found.ablations
    assert main(["results", str(study)]) == 0
    out = capsys.readouterr().out.replace("-", "−")
    for forest in ablation.forests:
        (row,) = forest.rows
        assert f"{row.difference} {row.interval}" in out
        assert row.p_holm in out
    assert ablation.forests[0].key == "mae"
    assert ablation.forests[0].better == "left"
    assert ablation.forests[0].rows[0].value > 0, "more noise, more error"


def test_a_page_repeats_and_asks_no_network_for_anything(study, no_projection):
    first, second = render(build(study)), render(build(study))
    assert first == second
    page = Page(first)
    assert not [
        value for tag, attributes in page.tags for value in (attributes.get("src"), attributes.get("href")) if "//" in (value or "")
    ]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(|https?://", first)
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        digest = re.search(rf"{kind}-src 'sha256-([^']+)'", policy)[1]
        assert base64.b64decode(digest) == hashlib.sha256(page.raw[kind].encode()).digest()
    assert not [tag for tag, attributes in page.tags if any(name == "style" or name.startswith("on") for name in attributes)]


EVIL = "<script>alert(1)</script>\" onload='x' &amp; </style>"


def test_what_stands_in_a_run_is_escaped(tmp_path, no_projection):
    run = make_run(tmp_path / 'a "quoted" <b>run', data=EVIL, ablation=EVIL, config={"note": EVIL}, **SMALL)
    (run / "environment.json").write_text(json.dumps({"python": EVIL}))
    with h5py.File(run / "record.h5", "a") as file:
        ids = file["test/id"].asstr()[()].tolist()
        del file["test/id"]
        file["test/id"] = np.array([EVIL, *ids[1:]], dtype=h5py.string_dtype())
    found, page = page_of(tmp_path)
    assert {tag for tag, _ in page.tags} & {"b", "img", "iframe", "object"} == set()
    assert [a.get("type") for tag, a in page.tags if tag == "script"] == [None, "application/json"]
    assert '"quoted" <b>run' in page.words
    assert EVIL in page.words
    assert data_of(page)["runs"]["run1"]["samples"][0]["id"] == EVIL
    assert found.details[0].configuration["note"] == EVIL


def test_json_in_a_script_cannot_end_it():
    text = embedded({"a": "</script><!--<script>\u2028&"})
    assert not set(text) & set("<>&\u2028")
    assert json.loads(text) == {"a": "</script><!--<script>\u2028&"}


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_classes(tmp_path, task, no_projection):
    make_run(tmp_path / "a", task=task, **SMALL)
    found, page = page_of(tmp_path)
    classes = 4 if task == "multiclass" else 2
    titles = [picture.title for panel in found.details[0].panels["Edges"] for picture in panel.pictures]
    assert sum(title.startswith("learned, class") for title in titles) == 2 * classes
    samples = data_of(page)["runs"]["run1"]["samples"]
    assert {s["prediction"] for s in samples} <= set(range(classes))
    assert len(samples[0]["scores"]) == (4 if task == "multiclass" else 1)


@pytest.mark.parametrize(
    ("stages", "themes"),
    [
        (("edges", "activations", "embeddings"), {"Curves", "Edges", "Dictionaries", "Confusion"}),  # an older record
        (("edges", "embeddings"), {"Curves", "Edges", "Confusion"}),
        (("activations",), {"Curves", "Dictionaries", "Confusion"}),
        ((), {"Curves", "Confusion"}),
    ],
)
def test_a_run_without_a_stage_says_so(tmp_path, stages, themes, no_projection):
    make_run(tmp_path / "a", n=40, epochs=5, stages=stages)
    found, page = page_of(tmp_path / "a")
    (one,) = found.details
    assert set(one.panels) == themes
    assert ("no dictionaries" in one.absent) == ("activations" not in stages)
    assert ("edges" in stages) == any("older version" in reason for reason in one.absent)
    assert "Nothing to compare" in page.words
    assert [a["href"] for tag, a in page.tags if a.get("href") == "#edges"] == (["#edges"] if "edges" in stages else [])


def test_edges_without_a_prior_and_edges_that_are_fixed(tmp_path, no_projection):
    run = make_run(tmp_path / "a", **SMALL)
    with h5py.File(run / "record.h5", "a") as file:
        del file["edges/homogeneous/prior"]
        for name in ("validation", "validation_by_class", "test"):
            del file[f"edges/heterogeneous/{name}"]
    found, page = page_of(run)
    panels = found.details[0].panels["Edges"]
    assert "There is no prior" in panels[0].note
    assert "prior" not in [picture.title for picture in panels[0].pictures]
    assert panels[-1].note == "The edges of this run are not learned: they are fixed or uniform."
    assert [picture.title for picture in panels[-1].pictures] == ["prior"]
    about = data_of(page)["runs"]["run1"]
    assert about["spaces"]["homogeneous"]["prior"] is None
    assert list(about["samples"][0]["edges"]) == ["homogeneous"]


def test_the_limits_hold_and_are_said(study, no_projection):
    found, page = page_of(study, details=1, samples=7)
    assert [one.name for one in found.details] == ["dhmd, seed 1"]
    assert found.left_out == ["dhmd, no_gd"]
    assert "left out: dhmd, no_gd" in page.words
    assert "7 of 40 samples, evenly spaced" in page.words
    assert len(data_of(page)["runs"]["run1"]["samples"]) == 7
    _, without = page_of(study, details=1, samples=0)
    assert "Left out (--samples 0)" in without.words


def test_texts_come_from_the_store_and_can_be_left_out(finished, no_projection):
    found, page = page_of(finished)
    (texts,) = found.browser["texts"].values()
    samples = found.browser["runs"]["run1"]["samples"]
    assert {s["id"] for s in samples} == set(texts)
    assert all(len(text.split()) > 1 for text in texts.values())
    found, page = page_of(finished, texts=False)
    assert found.browser["texts"] == {"": {}}
    assert "Texts were left out (--no-texts)" in page.words


def test_a_store_of_other_data_lends_no_texts(finished, tmp_path, no_projection):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    about = json.loads((run / "data.json").read_text())
    about["source"]["sha256"] = "0" * 64
    (run / "data.json").write_text(json.dumps(about))
    found, page = page_of(run)
    assert found.browser["texts"] == {"0": {}}
    assert "No texts" in page.words


def test_configurations_that_differ_by_a_number_are_told_apart(tmp_path, no_projection):
    for width in (50, 60):
        settings = {"model": {"_target_": "dhmd.models.DecoupledDistillation", "width": width, "part": {"a": 1} if width == 50 else None}}
        make_run(tmp_path / f"w{width}", config=settings, **SMALL)
    found, page = page_of(tmp_path)
    assert sorted(row[0].text for row in found.results[0].rows) == ["dhmd, width=50, part=set", "dhmd, width=60, part=null"]
    assert {one.key for one in found.differing} == {"model.width", "model.part"}
    assert str(tmp_path) not in page.words


def test_a_run_without_its_arrays_is_named_and_another_seed_stands_for_it(study, tmp_path, no_projection):
    shutil.copytree(study / "full_1", tmp_path / "runs" / "one")
    shutil.copytree(study / "full_2", tmp_path / "runs" / "two")
    (tmp_path / "runs" / "one" / "record.h5").unlink()
    found, page = page_of(tmp_path / "runs")
    assert [one.name for one in found.details] == ["dhmd, seed 2"]
    assert "runs/one : record.h5: missing" in page.words
    (tmp_path / "runs" / "two" / "history.csv").unlink()
    found, page = page_of(tmp_path / "runs")
    assert found.details == []
    assert len(found.results[0].rows) == 1, "its metrics are in the table all the same"
    assert "No run can be shown in detail" in page.words


def test_jobs_of_a_sweep_that_have_not_begun_are_named(study, tmp_path, no_projection):
    folder = tmp_path / "sweep"
    shutil.copytree(study / "full_1", folder / "one")
    (folder / "sweep.json").write_text(json.dumps({"schema": 1, "command": "", "jobs": {"one": [], "two": []}}))
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    page = Page((tmp_path / "page.html").read_text())
    assert "sweep/two : waiting" in page.words
    assert "1 missing" in page.words


def test_text_only(tiny, tmp_path, no_figures):
    from dhmd.training.train import train

    run = train(tiny(tmp_path / "run", model="text_only")).run_dir
    found, _ = page_of(run)
    assert set(found.details[0].panels) == {"Curves", "Confusion"}
    assert "no spaces, so no embeddings" in found.details[0].absent


def test_a_folder_without_a_finished_run_is_an_error(tmp_path, capsys):
    make_run(tmp_path / "late", done=False, **SMALL)
    with pytest.raises(RunError, match=r"1 runs, none finished, expected one at least; .*/late: the run has not finished"):
        build(tmp_path)
    assert main(["report", str(tmp_path / "nowhere"), "-o", str(tmp_path / "page.html")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_wrong_limits_and_places_are_told(study, tmp_path, no_projection):
    with pytest.raises(UsageError, match="--details: found 0, expected 1 or more"):
        report(study, tmp_path / "page.html", Limits(details=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        report(study / "full_1", tmp_path / "file" / "page.html")
