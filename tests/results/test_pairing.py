"""The row that others are compared with."""

import pytest

from dhmd.errors import UsageError
from dhmd.results.pairing import pairings, row_name
from dhmd.results.summary import tables_of
from fabricated import make_entry


def tables(*rows):
    return tables_of([make_entry(**{"configuration": f"{i}abcdef", **row}) for i, row in enumerate(rows)])


def named(found, wanted=""):
    """Row and reference of each pair by name, table by table, with the remarks."""
    return [
        ([(row_name(t.groups[i], t), row_name(t.groups[j], t)) for i, j in pairing.pairs], pairing.remark)
        for t, pairing in zip(found, pairings(found, wanted), strict=True)
    ]


def test_each_ablation_meets_its_own_model():
    rows = ({"model": "dmd"}, {"model": "dmd", "ablation": "no_gd"}, {"ablation": "full"}, {"ablation": "no_gd"})
    assert named(tables(*rows)) == [([("dhmd no_gd", "dhmd full"), ("dmd no_gd", "dmd")], "")]


def test_rows_without_an_ablation_are_compared_only_when_asked():
    found = tables({"model": "dmd"}, {}, {"model": "text_only"})
    assert named(found) == [([], "")]
    assert named(found, "text_only") == [([("dhmd", "text_only"), ("dmd", "text_only")], "")]


def test_no_reference_or_several_is_said():
    ((pairs, remark),) = named(tables({"ablation": "no_gd"}, {"model": "dmd"}))
    assert pairs == []
    assert "dhmd no_gd (no row of dhmd without an ablation)" in remark
    ((pairs, remark),) = named(tables({"ablation": "no_gd"}, {}, {}))
    assert pairs == []
    assert "several rows" in remark


def test_text_encoders_are_not_mixed_up():
    (found,) = named(tables({"ablation": "no_gd", "text_encoder": "minilm"}, {}, {"text_encoder": "minilm"}))
    assert found[0] == [("dhmd minilm no_gd", "dhmd minilm")]


@pytest.mark.parametrize(
    ("wanted", "reference"),
    [("dhmd", "dhmd"), ("dhmd,full", "dhmd"), ("dhmd, no_gd", "dhmd no_gd"), ("no_prior", "dhmd no_prior"), ("2abcdef", "dhmd no_prior")],
)
def test_words_name_a_row(wanted, reference):
    found = tables({}, {"ablation": "no_gd"}, {"ablation": "no_prior"}, {"model": "dmd", "ablation": "no_gd"})
    ((pairs, _),) = named(found, wanted)
    assert {b for _, b in pairs} == {reference}
    assert len(pairs) == 3


def test_a_row_of_one_table_only():
    found = tables({}, {"model": "dmd"}, {"data": "other"})
    assert named(found, "dmd") == [([("dhmd", "dmd")], ""), ([], "Compared with nothing: the reference dmd is not among these rows.")]


@pytest.mark.parametrize(
    ("wanted", "told"), [("mult", "no such row; expected words of one of: dhmd; dhmd no_gd"), ("dhmd,no_x", "no such")]
)
def test_a_row_that_is_nowhere_is_refused(wanted, told):
    with pytest.raises(UsageError, match=told):
        pairings(tables({}, {"ablation": "no_gd"}), wanted)


def test_words_of_several_rows_are_refused():
    with pytest.raises(UsageError, match="fits 2 rows"):
        pairings(tables({}, {"model": "dmd"}), "bert")
    with pytest.raises(UsageError, match="fits 2 rows"):
        pairings(tables({}, {}), "dhmd")


def test_none_compares_nothing_and_one_row_has_no_other():
    assert named(tables({}, {"ablation": "no_gd"}), "none") == [([], "")]
    assert named(tables({}), "dhmd") == [([], "")]
