"""Comparisons with a reference, from run folders to the sheet under a table and back from a committed record."""

import csv
import io
import itertools
import json
import re

import numpy as np
import pytest

from dhmd.errors import RunError, UsageError
from dhmd.evaluation.statistics import holm
from dhmd.files import json_sha256
from dhmd.results import compare
from dhmd.results.cli import main
from dhmd.results.record import check_runs, record_of, render
from dhmd.runs.reader import read_run, read_runs
from fabricated import cells, make_run


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(compare.Predictions.__init__, "__defaults__", (40,))


def runs_of(root, **rows):
    """Run folders ROW_SEED; a row is (ablation, noise of its predictions, seeds)."""
    for name, (ablation, noise, seeds) in rows.items():
        for seed in seeds:
            make_run(root / f"{name}_{seed}", seed=seed, ablation=ablation, noise=noise, n=48, epochs=4, stages=(), config={"a": ablation})
    return root


@pytest.fixture
def runs(tmp_path):
    return runs_of(tmp_path / "runs", full=(None, 0.6, (1, 2, 3)), better=("no_gd", 0.3, (1, 2, 3)), worse=("no_prior", 1.4, (1, 2, 3)))


def sheet(record):
    """The second table of a rendered record, by row, and the lines after it."""
    _, text = render(record).split("Differences ", 1)
    return {row[0]: row for row in cells(text)}, text


def test_differences_are_the_metrics_and_p_values_are_corrected_over_what_is_shown(runs):
    record = record_of([runs], metrics=["mae", "corr"], reference="")
    rows, text = sheet(record)
    found = {one["row"][0]: one for one in record["comparisons"]}
    raw = [found[read_run(runs / f"{row}_1").metrics_sha256]["metrics"][key]["p"] for row in ("better", "worse") for key in ("mae", "corr")]
    for i, (name, row) in enumerate((("dhmd no_gd", "better"), ("dhmd no_prior", "worse"))):
        mae = np.mean([read_run(runs / f"{row}_{s}").test["mae"] - read_run(runs / f"full_{s}").test["mae"] for s in (1, 2, 3)])
        assert rows[name][2].startswith(f"{mae:+.3f} [")
        p = [float(x) for cell in rows[name][2:] for x in re.findall(r"p [=<] ([\d.]+)", cell)]
        assert p == pytest.approx([max(x, 0.001) for x in holm(raw)[2 * i : 2 * i + 2]], abs=6e-4)
    assert "to **dhmd** on **demo** (synthetic data)" in text
    assert "48 test samples of 6 videos" in text
    assert "Holm's correction over these 4 comparisons (rows 2, metrics 2)" in text
    assert "a lower MAE is better" in text


def test_the_order_of_folders_changes_nothing(runs):
    folders = [runs / f"{name}_{seed}" for name in ("full", "better", "worse") for seed in (1, 2, 3)]
    assert record_of(folders[::-1], reference="") == record_of([runs], reference="")
    for first in itertools.permutations(folders[:4]):
        assert record_of([*first, *folders[4:]]) == record_of(folders)


def test_only_common_seeds_are_compared_and_they_are_named(tmp_path):
    root = runs_of(tmp_path / "runs", full=(None, 0.6, (1, 2, 3)), some=("no_gd", 0.3, (2, 3, 4)), others=("no_prior", 1.0, (7, 8)))
    record = record_of([root], metrics=["mae"], reference="")
    rows, text = sheet(record)
    assert rows["dhmd no_gd"][1] == "2"
    assert "`dhmd no_gd` and `dhmd` have seeds 2, 3 in common; the others are left out here." in text
    assert rows["dhmd no_prior"][1:] == ["0", "–"]
    assert "`dhmd no_prior` (seeds 7, 8) has no seed in common with `dhmd` (seeds 1, 2, 3): not compared." in text


def test_one_common_seed_is_a_difference_without_a_test(tmp_path):
    root = runs_of(tmp_path / "runs", full=(None, 0.6, (1,)), some=("no_gd", 0.3, (1, 2)))
    rows, text = sheet(record_of([root], metrics=["mae"], reference=""))
    assert re.fullmatch(r"-0\.\d{3}", rows["dhmd no_gd"][2])
    assert "is not tested: one seed in common says nothing about seeds." in text
    assert "Holm" not in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: file.write_text(file.read_text().replace("video0", "film0")), "differ: their ids or labels"),
        (lambda file: file.unlink(), r"some_1/predictions.csv: missing"),
        (lambda file: file.write_text(re.sub(r"[\d.]+\n", "9\n", file.read_text())), r"metrics.json says"),
    ],
)
def test_samples_that_do_not_pair_are_said(tmp_path, change, told):
    root = runs_of(tmp_path / "runs", full=(None, 0.6, (1, 2)), some=("no_gd", 0.3, (1, 2)))
    change(root / "some_1/predictions.csv")
    record = record_of([root], metrics=["mae"], reference="")
    _, text = sheet(record)
    assert re.search(rf"`dhmd no_gd` is not tested: .*{told}", text)
    assert str(tmp_path) not in json.dumps(record)


def test_a_run_compared_with_its_equal_differs_by_nothing(tmp_path):
    root = runs_of(tmp_path / "runs", full=(None, 0.6, (1, 2)), same=("no_gd", 0.6, (1, 2)))
    rows, _ = sheet(record_of([root], metrics=["mae"], reference=""))
    assert rows["dhmd no_gd"][2] == "+0.000 [+0.000, +0.000], p = 1"


def test_another_reference_and_none(runs, capsys):
    main([str(runs), "--reference", "no_gd", "--metrics", "mae"])
    said = capsys.readouterr().out
    assert "Differences to **dhmd no_gd**" in said
    assert "| dhmd no_prior | 3 |" in said
    main([str(runs), "--reference", "none"])
    assert "Differences" not in capsys.readouterr().out
    with pytest.raises(UsageError, match="no such row"):
        main([str(runs), "--reference", "no_such"])


def test_bootstrap_intervals_hold_the_mean_and_are_called_so(runs):
    record = record_of([runs], metrics=["mae"], interval="bootstrap")
    text = render(record)
    assert "95 % interval of the mean, bootstrap over seeds and videos" in text
    for row in cells(text)[2:]:
        mean, low, high = (float(x) for x in re.fullmatch(r"([\d.]+) ± [\d.]+ \[([\d.]+), ([\d.]+)\]", row[-1]).groups())
        assert low < mean < high
    assert "Student" not in text
    assert "Student" in render(record_of([runs], metrics=["mae"]))


def test_bootstrap_of_one_seed_is_over_videos(tmp_path):
    text = render(record_of([runs_of(tmp_path / "runs", full=(None, 0.6, (1,)))], metrics=["mae"], interval="bootstrap"))
    assert "one seed, so no deviation [95 % interval, bootstrap over videos]" in text
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", cells(text)[2][-1])


def test_bootstrap_without_predictions_is_refused(runs):
    (runs / "full_2/predictions.csv").unlink()
    with pytest.raises(RunError, match=r"full_2/predictions.csv: missing"):
        record_of([runs], interval="bootstrap")


def test_bootstrap_over_seeds_with_other_samples_is_refused(runs):
    file = runs / "full_2/predictions.csv"
    file.write_text(file.read_text().replace("video0", "film0"))
    with pytest.raises(RunError, match=r"--interval bootstrap: .*differ.*only --interval t"):
        record_of([runs], interval="bootstrap")


def test_csv_has_the_comparison_beside_the_mean_and_names_what_is_missing(runs):
    (runs / "worse_3/DONE").unlink()
    record = record_of([runs], metrics=["mae"], reference="")
    lines = list(csv.DictReader(io.StringIO(render(record, "csv"))))
    by = {(line["row"], line["metric"]): line for line in lines if line["metric"]}
    mae, corr = by["dhmd no_prior", "mae"], by["dhmd no_prior", "corr"]
    assert (mae["reference"], mae["common_seeds"], mae["interval"]) == ("dhmd", "1 2", "t")
    assert float(mae["difference_low95"]) < float(mae["difference"]) < float(mae["difference_high95"])
    raw = [float(by[row, "mae"]["p"]) for row in ("dhmd no_gd", "dhmd no_prior")]
    assert [float(by[row, "mae"]["p_holm"]) for row in ("dhmd no_gd", "dhmd no_prior")] == pytest.approx(holm(raw))
    assert corr["p"]
    assert corr["p_holm"] == "", "corrected over what the tables show"
    assert by["dhmd", "mae"]["reference"] == ""
    (missing,) = [line for line in lines if not line["metric"]]
    assert missing["not_counted"] == "runs/worse_3"
    assert "has not finished" in missing["why"]


@pytest.mark.parametrize("part", ["comparisons", "bootstrap"])
def test_an_edited_comparison_or_interval_is_found(runs, part):
    record = json.loads(json.dumps(record_of([runs], reference="", interval="bootstrap")))
    assert render(record)
    record[part][0]["samples"] = 1000
    with pytest.raises(RunError, match="does not fit its digest"):
        render(record)


def sealed_again(record):
    for part in ("comparisons", "bootstrap"):
        record[part] = [{**(c := {k: v for k, v in one.items() if k != "digest"}), "digest": json_sha256(c)} for one in record[part]]
    return record


def test_a_difference_that_is_not_the_runs_is_found_even_with_a_new_digest(runs):
    record = json.loads(json.dumps(record_of([runs], reference="")))
    record["comparisons"][0]["metrics"]["mae"]["difference"] -= 0.1
    with pytest.raises(RunError, match="the entries give"):
        render(sealed_again(record))


def test_comparisons_and_intervals_of_other_rows_are_refused(runs):
    record = json.loads(json.dumps(record_of([runs], reference="", interval="bootstrap")))
    other = json.loads(json.dumps(record))
    other["comparisons"][0]["row"][0] = "0"
    with pytest.raises(RunError, match="rows that are not in the record"):
        render(sealed_again(other))
    record["bootstrap"].pop(0)
    with pytest.raises(RunError, match="no bootstrap interval of its row"):
        render(record)


def test_a_record_of_other_predictions_is_found(runs):
    record = record_of([runs], reference="")
    check_runs(record, read_runs([runs])[0])
    file = runs / "better_1/predictions.csv"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(RunError, match=r"predictions.csv with SHA-256 .* in the record but not among the runs"):
        check_runs(record, read_runs([runs])[0])


def test_a_record_alone_gives_every_form_again(runs, tmp_path, capsys):
    record = tmp_path / "r.json"
    main([str(runs), "--metrics", "mae", "--record", str(record)])
    said, written = capsys.readouterr().out, record.read_text()
    assert main(["--record", str(record)]) == 0
    assert capsys.readouterr().out == said
    main(["--record", str(record), "--format", "latex"])
    assert capsys.readouterr().out.count(r"\toprule") == 2
    assert record.read_text() == written
    with pytest.raises(UsageError, match="--metrics, --interval: a record says by itself"):
        main(["--record", str(record), "--metrics", "corr", "--interval", "t"])
    with pytest.raises(UsageError, match="--reference: a record says by itself"):
        main([str(runs), "--record", str(record), "--check", "x.md", "--name", "x", "--reference", "dhmd"])


def test_records_from_before_there_were_comparisons_are_read(runs):
    record = record_of([runs])
    old = {key: value for key, value in record.items() if key not in ("comparisons", "bootstrap", "reference", "interval")}
    assert render(old) == render(record)
