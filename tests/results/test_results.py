"""The command `dhmd results`, its record, and the detection of edited numbers."""

import json

import pytest

from dhmd.errors import RunError, UsageError
from dhmd.results.cli import main
from dhmd.results.markers import between_markers, update_between_markers
from dhmd.results.record import check_runs, check_table, read_record, record_of, render
from dhmd.runs.reader import read_runs
from fabricated import make_run

DOCUMENT = "# Title\r\n\nBefore <!-- results:demo -->\nold\n<!-- /results:demo --> after\n<!-- results:other --><!-- /results:other -->\n"


@pytest.fixture
def runs(tmp_path):
    for seed in (1, 2):
        for model in ("dhmd", "dmd"):
            done = (model, seed) != ("dmd", 2)
            make_run(tmp_path / f"runs/{model}_{seed}", seed=seed, model=model, n=30, epochs=4, stages=(), done=done)
    return tmp_path / "runs"


@pytest.fixture
def document(tmp_path):
    file = tmp_path / "README.md"
    file.write_bytes(DOCUMENT.encode())
    return file


def test_only_what_is_between_the_markers_changes(document):
    assert update_between_markers(document, "demo", "\nnew\n\nlines\n")
    assert document.read_bytes().decode() == DOCUMENT.replace("old", "new\n\nlines")
    assert between_markers(document, "demo") == "new\n\nlines"
    assert not update_between_markers(document, "demo", "new\n\nlines")


@pytest.mark.parametrize(
    "text", ["", "<!-- results:demo -->", "<!-- /results:demo --><!-- results:demo -->", "<!-- results:demo --><!-- /results:demo -->" * 2]
)
def test_missing_or_doubled_markers_are_refused(tmp_path, text):
    file = tmp_path / "README.md"
    file.write_text(text)
    with pytest.raises(UsageError, match="expected one of each, in this order"):
        update_between_markers(file, "demo", "x")
    assert file.read_text() == text


def test_a_missing_document_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        update_between_markers(tmp_path / "README.md", "demo", "x")


def test_the_command_prints_writes_and_checks(runs, document, tmp_path, capsys):
    record = tmp_path / "docs/demo.json"
    options = ["--record", str(record), "--name", "demo"]
    assert main([str(runs), *options, "--update", str(document)]) == 0
    printed = capsys.readouterr().out
    assert "`runs/dmd_2`: the run has not finished" in printed
    assert between_markers(document, "demo") == printed.strip()
    assert str(tmp_path) not in record.read_text()
    assert main([*options, "--check", str(document)]) == 0
    assert main([str(runs), *options, "--check", str(document)]) == 0


def test_csv_and_chosen_metrics(runs, capsys):
    main([str(runs), "--format", "csv"])
    assert capsys.readouterr().out.startswith("data,synthetic,")
    main([str(runs), "--metrics", "corr"])
    assert "| seeds | Corr |" in capsys.readouterr().out


def test_a_reproduction_record_keeps_its_form(runs, capsys):
    main([str(runs), "--reproduce", "mosi"])
    assert "reference method not stated" in capsys.readouterr().out


def test_an_edited_number_in_the_document_is_found(runs, document):
    record = record_of([runs])
    update_between_markers(document, "demo", render(record))
    check_table(document, "demo", record)
    text = document.read_text()
    document.write_text(text.replace("4.74 M | 2 | ", "4.74 M | 2 | 9"))
    with pytest.raises(RunError, match="results:demo, line 5"):
        check_table(document, "demo", record)
    document.write_text(text.replace("\nNot in the table:", "").replace("- `runs/dmd_2`", "").strip() + "\n")
    with pytest.raises(RunError, match="results:demo"):
        check_table(document, "demo", record)


def test_an_edited_number_in_the_record_is_found(runs, document):
    record = json.loads(json.dumps(record_of([runs])))
    record["entries"][0]["test"]["acc7"] += 0.1
    with pytest.raises(RunError, match="it was edited"):
        check_table(document, "demo", record)


def test_a_record_of_other_runs_is_found(runs):
    record = record_of([runs])
    check_runs(record, read_runs([runs])[0])
    file = runs / "dhmd_1/metrics.json"
    file.write_text(file.read_text().replace('"seed": 1', '"seed": 5'))
    with pytest.raises(RunError, match=r"dhmd_1.*in the record but not among the runs"):
        check_runs(record, read_runs([runs])[0])
    with pytest.raises(RunError, match="not in the record"):
        check_runs({"entries": []}, read_runs([runs])[0])


@pytest.mark.parametrize(
    ("content", "told"), [(None, "missing"), ("{", "not JSON"), ("[]", "found a list"), ('{"schema": 9}', "schema: found 9")]
)
def test_a_damaged_record_is_refused(tmp_path, content, told):
    file = tmp_path / "demo.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RunError, match=told):
        render(read_record(file))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no folder given"),
        (["x", "--metrics", "acc8"], "found acc8"),
        (["x", "--update", "README.md"], "--record FILE"),
        (["--check", "README.md", "--record", "r.json"], "--name NAME"),
    ],
)
def test_wrong_usage(arguments, told):
    with pytest.raises(UsageError, match=told):
        main(arguments)


def test_no_finished_run_is_a_failure_that_names_them(tmp_path, capsys):
    make_run(tmp_path / "runs/a", n=20, epochs=4, stages=(), done=False)
    assert main([str(tmp_path / "runs")]) == 1
    assert "`runs/a`" in capsys.readouterr().out


def test_rows_told_apart_by_their_hash_alone_say_what_differs(tmp_path):
    for width in (30, 60):
        config = {"model": {"width": width, "heads": 6}}
        make_run(tmp_path / f"runs/{width}", n=20, epochs=4, stages=(), config=config)
    record = record_of([tmp_path / "runs"])
    text = render(record)
    notes = [line for line in text.splitlines() if line.startswith("Configuration `")]
    assert sorted(note.split(": ")[1] for note in notes) == ["`model.width=30`.", "`model.width=60`."]
    assert all(f"Configuration `{digest[:7]}`" in text for digest in record["differing"])
    del record["differing"]  # as older versions wrote it
    assert "model.width" not in render(record)
    assert "differing" not in record_of([tmp_path / "runs/30"])
