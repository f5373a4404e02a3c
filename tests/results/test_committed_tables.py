"""The tables in the documents are what their committed records give: an edited number fails here."""

from pathlib import Path

import pytest

from dhmd.errors import RunError
from dhmd.results.record import check_table

ROOT = Path(__file__).parents[2]
TABLES = [
    ("README.md", "mosi-clean", "docs/records/mosi_clean.json"),
    ("docs/results.md", "ablation", "docs/records/ablation.json"),
    ("docs/results.md", "mosi-stages", "docs/records/mosi_stages.json"),
]


@pytest.mark.parametrize(("document", "name", "record"), TABLES)
def test_table_is_its_record(document, name, record):
    check_table(ROOT / document, name, ROOT / record)


@pytest.mark.parametrize(("document", "name", "record"), TABLES)
def test_an_edited_number_is_found(document, name, record, tmp_path):
    text = (ROOT / document).read_text()
    start = text.index(f"<!-- results:{name} -->")
    digit = next(i for i in range(text.index("±", start), len(text)) if text[i].isdigit())
    edited = tmp_path / "edited.md"
    edited.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    with pytest.raises(RunError, match="the runs give"):
        check_table(edited, name, ROOT / record)


def test_an_edited_p_value_is_found(tmp_path):
    text = (ROOT / "docs/results.md").read_text()
    edited = tmp_path / "edited.md"
    edited.write_text(text.replace("p = 0.034", "p = 0.004", 1))
    assert edited.read_text() != text
    with pytest.raises(RunError, match="the runs give"):
        check_table(edited, "ablation", ROOT / "docs/records/ablation.json")
