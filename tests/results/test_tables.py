"""Tables: right numbers, their convention and size beside them, nothing dropped, nothing unverified."""

import csv
import io

import numpy as np
import pytest

from dhmd.results.csv import to_csv
from dhmd.results.markdown import not_in_the_table
from dhmd.results.summary import entry_of, tables_of
from dhmd.results.tables import caption, markdown, reproduction
from dhmd.runs.reader import read_run
from fabricated import cells, make_entry, make_run


def column(text, name, row=2):
    rows = cells(text)
    return rows[row][rows[0].index(name)]


def test_numbers_by_hand():
    entries = [make_entry(seed=s, test={"acc7": a, "mae": m}) for s, a, m in ((1, 0.44, 0.70), (2, 0.46, 0.72), (3, 0.45, 0.74))]
    text = markdown(tables_of(entries))
    # std .01, half of the interval 4.3027 * .01 / sqrt(3) = .0248
    assert column(text, "ACC7") == "45.0 ± 1.0 [42.5, 47.5]"
    assert column(text, "MAE") == "0.720 ± 0.020 [0.670, 0.770]"
    assert column(text, "seeds") == "3"
    assert column(text, "parameters") == "4.74 M"


def test_one_seed_is_a_number_and_the_caption_says_so():
    text = markdown(tables_of([make_entry()]))
    assert column(text, "ACC2 (non-zero)") == "84.0"
    assert "one seed, so no deviation" in text


def test_an_interval_stays_within_what_is_possible():
    text = markdown(tables_of([make_entry(seed=s, test={"acc7": a, "corr": a, "mae": a}) for s, a in ((1, 0.3), (2, 0.9))]))
    assert column(text, "ACC7").endswith("[0.0, 100.0]")
    assert column(text, "Corr").endswith("[-1.000, 1.000]")
    assert column(text, "MAE").endswith("[0.000, 4.412]")


def test_the_caption_names_sizes_convention_encoder_and_alignment():
    sentence = caption(tables_of([make_entry()])[0])
    for fact in ("1284 train / 229 valid / 686 test", "aligned", "mosi convention", "text encoder bert", "read once"):
        assert fact in sentence
    assert "unaligned" in caption(tables_of([make_entry(aligned=False)])[0])
    assert "synthetic" not in sentence


def test_synthetic_data_is_called_so_in_the_same_sentence():
    sentence = caption(tables_of([make_entry(synthetic=True, data="demo", published_as=None)])[0])
    assert "**demo** (synthetic data)" in sentence
    assert ". " not in sentence


def test_columns_that_say_the_same_are_left_out_and_others_shown():
    assert cells(markdown(tables_of([make_entry(), make_entry(model="dmd")])))[0][:3] == ["model", "parameters", "seeds"]
    text = markdown(tables_of([make_entry(), make_entry(text_encoder="minilm", ablation="no_prior")]))
    assert cells(text)[0][:3] == ["model", "text encoder", "ablation"]
    assert cells(text)[2][:3] == ["dhmd", "bert", "–"]


def test_an_ablation_is_said_where_all_rows_have_it():
    text = markdown(tables_of([make_entry(ablation="no_gd"), make_entry(model="dmd", ablation="no_gd")]))
    assert cells(text)[0][:2] == ["model", "ablation"]
    assert [row[1] for row in cells(text)[2:]] == ["no_gd", "no_gd"]
    assert "ablation" not in cells(markdown(tables_of([make_entry(ablation="full")])))[0]


def test_rows_that_differ_in_numbers_only_are_told_apart():
    text = markdown(tables_of([make_entry(), make_entry(configuration="1234567890")]))
    assert [row[1] for row in cells(text)[2:]] == ["1234567", "abcdef0"]


def test_chosen_metrics_and_tasks_without_the_main_ones():
    assert cells(markdown(tables_of([make_entry()]), ["corr", "acc7"]))[0][-2:] == ["Corr", "ACC7"]
    other = make_entry(task="multiclass")
    other.test.clear()
    other.test.update(accuracy=0.5, f1_macro=0.4, loss=1.0)
    assert cells(markdown(tables_of([other])))[0][-2:] == ["Accuracy", "F1 (macro)"]


def test_missing_runs_and_repeats_are_named():
    entries = [make_entry(), make_entry(run="runs/later")]
    text = markdown(tables_of(entries), missing={"runs/x": "the run has\nnot finished | DONE"})
    assert "- `runs/x`: the run has not finished \\| DONE" in text
    assert "not counted: `runs/dhmd_1`" in text
    assert not_in_the_table({}) == ""
    assert "`runs/x`" in markdown([], missing={"runs/x": "failed"})


def test_reproduction_puts_dmds_rows_with_their_sources_below_ours():
    text = reproduction(tables_of([make_entry(), make_entry(model="dmd")]), "mosi")
    rows = cells(text)
    ours, paper = rows[2], next(row for row in rows if row[0] == "DMD, published")
    assert ours[-1] == "this run"
    assert [paper[rows[0].index(name)] for name in ("ACC7", "ACC2 (non-zero)", "F1 (non-zero)", "MAE")] == ["45.6", "86.0", "86.0", "–"]
    assert "CVPR 2023" in paper[-1]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert "41.9" not in text


def test_reproduction_of_unaligned_data_takes_the_unaligned_row():
    text = reproduction(tables_of([make_entry(aligned=False)]), "mosi")
    paper = next(row for row in cells(text) if row[0] == "DMD, published")
    assert "41.9" in paper
    assert "45.6" not in text


def test_dhmds_gains_are_quoted_without_becoming_a_row():
    text = reproduction(tables_of([make_entry()]), "mosi")
    assert "ACC7 +1.3 %, ACC2 +1.3 %, F1 +1.9 %" in text
    assert "reference method not stated" in text
    assert not [row for row in cells(text) if row[0].startswith("DHMD")]


def test_nothing_unverified_is_printed():
    text = reproduction(tables_of([make_entry(data="mosei_aligned", published_as="mosei_aligned")]), "mosei")
    assert not [row for row in cells(text) if row[0].startswith("DMD")]
    assert "86.6" not in text


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        ({}, None),
        ({"published_as": None}, "not the published feature file"),
        ({"published_as": None, "synthetic": True}, "synthetic data:"),
    ],
)
def test_other_features_are_remarked_on(options, remark):
    text = reproduction(tables_of([make_entry(**options)]), "mosi")
    assert ("cannot be compared" in text) == (remark is not None)
    assert remark is None or remark in text


def test_csv_holds_every_metric_at_full_precision(tmp_path):
    runs = [read_run(make_run(tmp_path / f"{s}", seed=s, n=30, epochs=4, stages=())) for s in (1, 2)]
    rows = list(csv.DictReader(io.StringIO(to_csv(tables_of([entry_of(run) for run in runs])))))
    assert {row["metric"] for row in rows} == set(runs[0].test)
    corr = next(row for row in rows if row["metric"] == "corr")
    assert float(corr["mean"]) == pytest.approx(np.mean([run.test["corr"] for run in runs]), abs=1e-15)
    assert (corr["n_seeds"], corr["seeds"], corr["synthetic"], corr["test_samples"]) == ("2", "1 2", "True", "30")


def test_csv_has_the_published_rows_of_the_table_with_source_and_confidence():
    rows = list(csv.DictReader(io.StringIO(to_csv(tables_of([make_entry()]), published="mosi"))))
    paper = {row["metric"]: row for row in rows if row["confidence"] == "paper"}
    assert {key: row["mean"] for key, row in paper.items()} == {"acc7": "0.456", "acc2_non_zero": "0.86", "f1_non_zero": "0.86"}
    assert all("CVPR 2023" in row["source"] and row["n_seeds"] == "" for row in paper.values())
    assert [row["mean"] for row in rows if row["source"] and row["metric"] == "mae"] == [".7334"]
    none = list(csv.DictReader(io.StringIO(to_csv(tables_of([make_entry()]), published="mosei"))))
    assert not [row for row in none if row["source"]], "unverified ones are absent"
