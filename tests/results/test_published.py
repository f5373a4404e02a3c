"""Published numbers: only verified ones are handed out, each with its source, digits as printed."""

import pytest
import yaml

from dhmd.config import conf_dir
from dhmd.errors import UsageError
from dhmd.results.published import PUBLISHED_LABELS, published_rows, relative_gains

FILES = sorted((conf_dir() / "published").glob("*.yaml"))
ROW = {"method": "A", "aligned": True, "source": "s", "verified": True, "values": {"acc7": "40.0"}}


def write(folder, *rows, **more):
    sources = {"s": {"text": "A paper", "confidence": "paper"}}
    (folder / "mosi.yaml").write_text(yaml.safe_dump({"data": "mosi", "sources": sources, "rows": list(rows), **more}))
    return folder


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_no_unverified_row_is_handed_out(file):
    content = yaml.safe_load(file.read_text())
    hidden = [row for row in content["rows"] if row["verified"] is not True]
    shown = published_rows(file.stem)
    assert len(shown) == len(content["rows"]) - len(hidden)
    for row in hidden:
        source = content["sources"][row["source"]]["text"]
        assert not [s for s in shown if (s.method, s.aligned, s.source) == (row["method"], row["aligned"], source)]


def test_there_are_unverified_rows_to_hide():
    assert "verified: false" in (conf_dir() / "published/mosei.yaml").read_text()
    assert published_rows("mosei", method="DMD") == []


def test_an_unverified_row_or_gain_is_hidden_and_becomes_visible_when_verified(tmp_path):
    gains = {"method": "A", "source": "p", "reference": "r", "verified": False, "values": {"acc7": "+1 %"}}
    write(tmp_path, {**ROW, "verified": False}, relative_gains=gains)
    assert published_rows("mosi", folder=tmp_path) == []
    assert relative_gains("mosi", folder=tmp_path) is None
    write(tmp_path, ROW, relative_gains={**gains, "verified": True})
    assert [row.method for row in published_rows("mosi", folder=tmp_path)] == ["A"]
    assert relative_gains("mosi", folder=tmp_path).values == {"acc7": "+1 %"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_number_is_plausible_and_has_a_source(file):
    for row in published_rows(file.stem):
        assert row.source
        assert row.confidence
        for key, digits in row.values.items():
            low, high = {"mae": (0.4, 1.5), "corr": (0.4, 1)}.get(key, (20, 100))
            assert low < float(digits) < high, (row, key)
            assert key in PUBLISHED_LABELS


@pytest.mark.parametrize(("aligned", "values"), [(True, ("45.6", "86.0", "86.0")), (False, ("41.9", "83.5", "83.5"))])
def test_dmds_paper_rows(aligned, values):
    (row,) = [r for r in published_rows("mosi", method="DMD", aligned=aligned) if r.confidence == "paper"]
    assert tuple(row.values[k] for k in ("acc7", "acc2_non_zero", "f1_non_zero")) == values
    assert "CVPR 2023" in row.source


def test_dhmd_has_gains_without_a_reference_and_no_row():
    assert relative_gains("mosi").values == {"acc7": "+1.3 %", "acc2_unstated": "+1.3 %", "f1_unstated": "+1.9 %"}
    assert relative_gains("mosei").values == {"acc7": "+2.4 %", "acc2_unstated": "+1.9 %", "f1_unstated": "+1.8 %"}
    for data in ("mosi", "mosei"):
        assert relative_gains(data).reference == "reference method not stated"
        assert published_rows(data, method="DHMD") == []


def test_data_nobody_published_has_nothing():
    assert published_rows("demo") == []
    assert relative_gains("demo") is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({k: v for k, v in ROW.items() if k != "verified"}, r"rows\[0\]: found .* expected .*verified"),
        ({**ROW, "verified": "yes"}, "verified: found 'yes'"),
        ({**ROW, "source": "nowhere"}, "source: found 'nowhere'"),
        ({**ROW, "values": {"acc7": 40.0}}, "digits in quotes"),
        ({**ROW, "values": {"acc8": "40.0"}}, "acc8"),
    ],
)
def test_a_malformed_row_is_refused(tmp_path, row, told):
    with pytest.raises(UsageError, match=told):
        published_rows("mosi", folder=write(tmp_path, row))
