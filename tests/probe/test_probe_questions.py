"""Questions on numbers that are known: what must come out of fabricated runs, and that nobody edits it."""

import json

import numpy as np
import pytest

from dhmd.batch import MODALITIES, edge_pairs
from dhmd.errors import RunError, UsageError
from dhmd.probe.cli import QUESTIONS, check_document, probe, tables_of
from dhmd.probe.groups import grouped
from dhmd.probe.measure import Measured
from dhmd.probe.questions import MEAN, WEAK, agreement, ask
from dhmd.probe.record import read_probe_record, write_probe_record
from dhmd.probe.tables import to_csv

RELIABILITY = {"language": 0.8, "vision": 0.4, "acoustic": 0.6}
SWAPPED = {"language": 0.4, "vision": 0.8, "acoustic": 0.6}


def edge_values(space, shares):
    return {f"edges/{space}/{t}->{s}": shares[t] / 2 for t, s in edge_pairs(MODALITIES)}


def made(seed, ablation="", *, data="probe", reliability=RELIABILITY, values=None, **changes):
    """A run whose numbers are known; the seed shifts each by as much."""
    noise = np.random.default_rng(seed).normal()
    shift = 0.01 * noise
    numbers = {
        "oracle/valence": 1.0,
        "oracle/composition": 0.2,
        "stages/acc2_non_zero": 0.9 + shift,
        "stages/mae": 0.5 + shift,
        "stages/corr": 0.8,
    }
    for m in MODALITIES:
        for space in ("homogeneous", "heterogeneous"):
            numbers |= {f"heads/{space}/{m}/mae": 1.0 + shift, f"heads/{space}/{m}/corr": 0.4}
            kinds = [
                f"{a}/{t}/{k}part {space}/{m}"
                for a in ("readability", "content")
                for t in ("shared", "private")
                for k in ("", "untrained ")
            ]
            numbers |= dict.fromkeys(kinds, 0.5)
            numbers |= {f"activations/valence/{k}/{space}/{m}": 0.3 for k in ("activations", "untrained activations", "pooled features")}
            numbers |= {f"entries/{k}/{space}/{m}": 7 for k in ("used", "active", "all")}
        numbers[f"readability/shared/part homogeneous/{m}"] = 0.7 + shift
        numbers[f"readability/private/part heterogeneous/{m}"] = 0.4
        numbers[f"content/private/part heterogeneous/{m}"] = 0.8
    if ablation != "no_gd":
        numbers |= edge_values("homogeneous", {"language": 0.5, "vision": 0.2, "acoustic": 0.3})
        numbers |= edge_values("heterogeneous", {"language": 0.2, "vision": 0.5, "acoustic": 0.3})
    numbers |= values or {}
    corpus = json.dumps(reliability)
    fields = {"run": f"{ablation or 'full'}_{data}_{seed}", "model": "dhmd", "ablation": ablation, "seed": seed, "data": data}
    rest = {"corpus": corpus, "reliability": dict(reliability), "configuration": f"{ablation}{data}" * 8, "metrics_sha256": f"{seed}"}
    return Measured(**{**fields, **rest, "values": {k: round(v, 6) for k, v in numbers.items()}, **changes})


def study(seeds=(1, 2, 3)):
    worse = {f"heads/{space}/{m}/mae": 0.25 for space in ("homogeneous", "heterogeneous") for m in MODALITIES}

    def taught_less(seed):
        full = made(seed).values
        harm = {k: full[k] + by + 0.001 * seed for k, by in worse.items()}
        return made(seed, "no_gd", values={**harm, "stages/mae": full["stages/mae"] + 0.1 + 0.001 * seed})

    return [*map(made, seeds), *map(taught_less, seeds)]


def answers(measured):
    groups = grouped(measured)
    return ask(groups), {g.name: g for g in groups}


def test_known_shares_give_known_ranks():
    asked, groups = answers(study())
    value = lambda *where: asked["edges"].value(groups["full"], *where).over_seeds.mean  # noqa: E731
    assert value("homogeneous", "share", "language") == pytest.approx(0.5)
    assert value("homogeneous", "share", "vision") == pytest.approx(0.2)
    assert value("homogeneous", "agreement", "teachers") == pytest.approx(1)
    assert value("homogeneous", "first", "teachers") == 1
    assert value("heterogeneous", "agreement", "teachers") == pytest.approx(-1)
    assert value("heterogeneous", "first", "teachers") == 0
    assert value("homogeneous", "weight", "language->vision") == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ({"language": 0.5, "vision": 0.3, "acoustic": 0.2}, (1 / 3, 1.0)),
        ({"language": 0.3, "vision": 0.2, "acoustic": 0.5}, (1 / 3, 0.0)),
        ({"language": 1 / 3, "vision": 1 / 3, "acoustic": 1 / 3}, (0.0, 0.0)),
    ],
)
def test_agreement(share, expected):
    assert agreement(share, RELIABILITY) == pytest.approx(expected)


def test_a_share_is_of_all_weights_whatever_they_sum_to():
    double = made(1, values={k: 2 * v for k, v in edge_values("homogeneous", {"language": 0.5, "vision": 0.2, "acoustic": 0.3}).items()})
    asked, groups = answers([double])
    assert asked["edges"].value(groups["full"], "homogeneous", "share", "language").over_seeds.mean == pytest.approx(0.5)


def test_the_same_teacher_under_another_reliability_is_compared_by_seed():
    follows = edge_values("homogeneous", {"language": 0.2, "vision": 0.5, "acoustic": 0.3})
    runs = [made(s, "prior_off") for s in (1, 2)]
    runs += [made(s, "prior_off", data="swapped", reliability=SWAPPED, values=follows) for s in (1, 2)]
    asked, groups = answers(runs)
    assert set(groups) == {"prior_off, probe", "prior_off, swapped"}
    found = {c.where: c.difference.mean for c in asked["edges"].contrasts}
    assert found["homogeneous", "share", "language"] == pytest.approx(0.3)
    assert found["homogeneous", "share", "vision"] == pytest.approx(-0.3)
    assert found["homogeneous", "share", "acoustic"] == pytest.approx(0)
    assert "0.8 instead of 0.4" in tables_of(runs)["edges"]


def test_known_harm_to_the_heads_comes_out_with_its_sign():
    asked, _ = answers(study())
    found = {(c.other.name, *c.where): c for c in asked["heads"].contrasts}
    vision = found["no_gd", "homogeneous", "vision", "mae"]
    assert vision.difference.mean == pytest.approx(-0.252)
    assert vision.difference.n == 3
    weak = found["no_gd", "homogeneous", WEAK, "mae"]
    assert weak.difference.mean == pytest.approx(-0.252)
    assert weak.adjusted == pytest.approx(2 * weak.difference.p)  # two spaces in its family
    assert vision.adjusted == pytest.approx(6 * vision.difference.p)  # six heads
    assert found["no_gd", "homogeneous", "vision", "corr"].difference.mean == 0


def test_only_runs_that_distil_less_answer_for_distillation():
    values = {k: v for k, v in made(1).values.items() if not k.startswith("activations/")}
    runs = [*study(), *(made(s, "no_dictionary", values=values) for s in (1, 2, 3))]
    asked, _ = answers(runs)
    assert {c.other.name for c in asked["heads"].contrasts} == {"no_gd"}
    assert {c.other.name for c in asked["stages"].contrasts} == {"no_gd", "no_dictionary"}


def test_selectivity_is_the_difference_of_the_parts():
    asked, groups = answers(study())
    value = lambda *where: asked["readability"].value(groups["full"], *where).over_seeds  # noqa: E731
    shared = [run.values["readability/shared/part homogeneous/vision"] - 0.5 for run in study()[:3]]
    assert value("read", "shared", "selectivity", "vision").mean == pytest.approx(np.mean(shared))
    assert value("read", "private", "selectivity", MEAN).mean == pytest.approx(-0.1)
    assert value("read", "private", "untrained selectivity", MEAN).mean == pytest.approx(0)
    assert value("read", "private", "selectivity gained", MEAN).mean == pytest.approx(-0.1)
    assert value("content", "private", "selectivity", MEAN).mean == pytest.approx(0.3)
    assert value("content", "shared", "selectivity", MEAN).mean == pytest.approx(0)


def test_differences_pair_the_seeds_that_both_have():
    runs = [*study((1, 2, 3)), made(9), made(8, "no_gd")]
    asked, _ = answers(runs)
    (mae,) = [c for c in asked["stages"].contrasts if c.where == ("mae",)]
    assert mae.difference.n == 3
    assert mae.difference.mean == pytest.approx(-0.102)


def test_without_one_reference_nothing_is_compared():
    asked, _ = answers(study()[3:])
    assert not asked["stages"].contrasts
    doubled = [*study(), made(1, configuration="other")]
    asked, groups = answers(doubled)
    assert not asked["stages"].contrasts
    assert {"full, other", "no_gd"} < set(groups)


def test_of_a_seed_that_is_there_twice_the_later_folder_counts():
    (group,) = grouped([made(1, run="b", values={"stages/corr": 0.1}), made(1, run="a")])
    assert [run.values["stages/corr"] for run in group.runs] == [0.1]


def test_one_run_has_no_intervals_and_says_so():
    tables = tables_of([made(1)])
    for text in tables.values():
        assert "one seed a row; so no intervals" in text
        assert "[" not in text.replace("[95 %", "")


def test_every_table_says_synthetic_and_csv_has_every_number():
    asked, _ = answers(study())
    tables = tables_of(study())
    assert list(tables) == list(QUESTIONS) == list(asked)
    for name, answer in asked.items():
        assert "(synthetic data)" in tables[name]
        lines = to_csv(answer).splitlines()
        assert len(lines) == 1 + len(answer.values) + len(answer.contrasts)
        assert all(line.count(",") == lines[0].count(",") for line in lines)


def test_the_record_gives_the_same_answers(tmp_path):
    file = tmp_path / "record.json"
    write_probe_record(file, study())
    assert tables_of(read_probe_record(file)) == tables_of(study())
    assert str(tmp_path) not in file.read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace('"mae":0.', '"mae":1.', 1), "it was edited"),
        (lambda text: text.replace('"seed":1', '"seeds":1', 1), "found the fields"),
        (lambda text: text.replace('"schema": 1', '"schema": 7'), "schema: found 7"),
        (lambda text: "[]", "found a list, expected an object"),
        (lambda text: text[:-3], "not JSON"),
        (None, "missing"),
    ],
)
def test_an_edited_or_damaged_record_is_refused(tmp_path, change, told):
    file = tmp_path / "record.json"
    write_probe_record(file, study())
    file.write_text(change(file.read_text())) if change else file.unlink()
    with pytest.raises(RunError, match=told):
        read_probe_record(file)


def test_an_edited_number_in_the_document_is_found(tmp_path):
    record, document = tmp_path / "record.json", tmp_path / "findings.md"
    write_probe_record(record, study())
    document.write_text("# Findings\n<!-- probe:stages -->\n<!-- /probe:stages -->\nend\n")
    probe(record=record, update=document)
    assert check_document(document, read_probe_record(record)) == ["stages"]
    text = document.read_text()
    assert text.endswith("end\n")
    digit = text.index("90.") + 1
    document.write_text(text[:digit] + "7" + text[digit + 1 :])
    with pytest.raises(RunError, match="probe:stages, line 7: found"):
        probe(record=record, check=document)


def test_documents_without_markers_are_refused_before_any_work(tmp_path):
    document = tmp_path / "findings.md"
    document.write_text("<!-- probe:stages -->")
    with pytest.raises(UsageError, match="expected one of each"):
        probe(runs=[tmp_path / "nowhere"], update=document)
    document.write_text("nothing")
    with pytest.raises(UsageError, match="expected a document with one of"):
        probe(runs=[tmp_path / "nowhere"], update=document)


def test_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="no run given"):
        probe()
    with pytest.raises(UsageError, match="--check needs --record"):
        probe(check=tmp_path / "findings.md")
    write_probe_record(tmp_path / "empty.json", [])
    with pytest.raises(RunError, match="has no run"):
        probe(record=tmp_path / "empty.json")
