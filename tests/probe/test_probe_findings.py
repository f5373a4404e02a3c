"""The tables of docs/findings.md are what its record gives: an edited number fails here."""

from pathlib import Path

import pytest

from dhmd.errors import RunError
from dhmd.probe.cli import QUESTIONS, check_document
from dhmd.probe.record import read_probe_record

ROOT = Path(__file__).parents[2]
DOCUMENT, RECORD = ROOT / "docs/findings.md", ROOT / "docs/records/findings.json"


@pytest.fixture(scope="module")
def recorded():
    return read_probe_record(RECORD)


def test_every_table_is_what_the_record_gives(recorded):
    assert check_document(DOCUMENT, recorded) == list(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_edited_number_is_found(recorded, name, tmp_path):
    text = DOCUMENT.read_text()
    start = text.index("| ---", text.index(f"<!-- probe:{name} -->"))
    digit = next(i for i in range(text.index("0.", start), len(text)) if text[i].isdigit() and text[i - 1] == ".")
    edited = tmp_path / "edited.md"
    edited.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    with pytest.raises(RunError, match=f"probe:{name}, line"):
        check_document(edited, recorded)


def test_every_configuration_has_the_same_five_seeds(recorded):
    seeds = {}
    for run in recorded:
        seeds.setdefault((run.ablation, run.data), set()).add(run.seed)
    assert set(map(frozenset, seeds.values())) == {frozenset(range(1111, 1116))}
    assert len(seeds) == 11


def test_the_page_says_synthetic_and_shows_every_figure():
    text = DOCUMENT.read_text()
    assert "All numbers on this page are of synthetic data" in text
    for name in QUESTIONS:
        figure = ROOT / f"docs/images/findings/{name}.svg"
        assert f"images/findings/{name}.svg" in text
        assert 0 < figure.stat().st_size < 200_000
