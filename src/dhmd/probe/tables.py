"""Tables of the answers: markdown for readers, csv at full precision."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from dhmd.evaluation.metrics import LABELS, LOWER_IS_BETTER, NOT_A_SHARE
from dhmd.evaluation.statistics import Interval
from dhmd.probe.groups import Contrast, Group, Value, in_detail
from dhmd.probe.questions import MEAN, WEAK, Answer

_NONE = "–"
SAME = 1e-9  # a narrower interval means that no seed changes the number
SPACES = ("homogeneous", "heterogeneous")


def to_csv(answer: Answer) -> str:
    """Return one csv line a number, of a group (``minus`` empty) or of the difference of two groups."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["data", "group", "minus", *answer.columns, "n_seeds", "mean", "std", "low95", "high95", "p", "p_holm"])
    for v in answer.values:
        s = v.over_seeds
        writer.writerow([v.group.first.data, v.group.name, "", *v.where, s.n, s.mean, s.std, *_ends(s.interval), None, None])
    for c in answer.contrasts:
        d = c.difference
        numbers = [d.n, d.mean, None, *_ends(d.interval), d.p, c.adjusted]
        writer.writerow([c.group.first.data, c.group.name, c.other.name, *c.where, *numbers])
    return out.getvalue()


def markdown(answer: Answer, groups: Sequence[Group]) -> str:
    """Return the markdown tables of a question, each under a sentence that describes it."""
    return "\n\n".join([caption(groups), *_TABLES[answer.name](answer, groups)]) + "\n"


def caption(groups: Sequence[Group]) -> str:
    """Return one sentence: synthetic data, seeds, and the meaning of the numbers."""
    names = ", ".join(dict.fromkeys(f"**{g.first.data}**" for g in groups))
    counts = sorted({len(g.runs) for g in groups})
    seeds = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else "one seed" if counts[0] == 1 else f"{counts[0]} seeds"
    numbers = "so no intervals" if counts[-1] == 1 else "mean [95 % interval of the mean over seeds, Student's t]"
    return f"Test split of the embedded corpus {names} (synthetic data); {seeds} a row; {numbers}."


def _sources(answer: Answer, group: Group) -> dict[str, str]:
    """Return the columns that show a group: both parts of its decoupling or, for a network without one, what enters its fusion."""
    of = dict.fromkeys(v.where[2] for v in answer.values if v.group is group)
    if any(name.startswith("part ") for name in of):
        what, shown = " part", {space: f"part {space}" for space in SPACES}
    else:
        what, shown = "", {name.removeprefix("pooled "): name for name in of if name.startswith("pooled ") and "selectivity" not in name}
    after = {f"{space}{what}": name for space, name in shown.items()}
    return after | {f"before training: {space}": f"untrained {name}" for space, name in shown.items()} | {"features": "features"}


def _readability(answer: Answer, groups: Sequence[Group]) -> list[str]:
    tables = []
    for group in in_detail(groups):
        sources = _sources(answer, group)
        for measure, says in (
            ("read", "R², out of fold, of a linear reader of each modality"),
            ("content", "Share of each modality's own variance that lies with what was planted"),
        ):
            rows = [
                [target, m, *(_of(answer, group, measure, target, source, m) for source in sources.values())]
                for target in ("shared", "private", *(("valence",) if measure == "read" else ()))
                for m in (*group.reliability, MEAN)
            ]
            if _says(rows, 2):
                tables += [f"{says}, in `{group.name}`:", _grid(["planted", "modality", *sources], rows)]
    columns = {
        f"{says}, {target}{when}": (measure, target, name)
        for measure, says in (("read", "R²"), ("content", "share of variance"))
        for target in ("shared", "private")
        for when, name in (("", "selectivity"), (", gained in training", "selectivity gained"))
    } | {f"R² of what enters fusion, {target}": ("read", target, "pooled selectivity") for target in ("shared", "private")}
    rows = [[f"`{g.name}`", *(_of(answer, g, *place, MEAN, written="{:+.3f}".format) for place in columns.values())] for g in groups]
    rows = [row for row in rows if _says([row], 1)]
    if rows:
        tables += [
            "Selectivity, mean over modalities: the part that is meant to hold it minus the other part.",
            _grid(["runs", *columns], rows),
        ]
    return tables or ["No run has a network with spaces."]


def _edges(answer: Answer, groups: Sequence[Group]) -> list[str]:
    modalities = list(dict.fromkeys(m for group in groups for m in group.reliability))
    rows = []
    for group in groups:
        for space in SPACES:
            if answer.value(group, space, "agreement", "teachers") is None or not about_edges(answer, group):
                continue
            teachers = ", ".join(f"{m} {r:g}" for m, r in group.reliability.items())
            prior = [answer.value(group, space, "prior share", m) for m in group.reliability]
            first = answer.value(group, space, "first", "teachers")
            assert first is not None  # noqa: S101 - it is beside the agreement
            rows.append(
                [
                    f"`{group.name}`",
                    space,
                    teachers,
                    " / ".join(f"{p.over_seeds.mean:.2f}" for p in prior if p is not None) or "off",
                    *(_of(answer, group, space, "share", m) for m in modalities),
                    _of(answer, group, space, "agreement", "teachers", bounds=(-1.0, 1.0)),
                    f"{round(first.over_seeds.mean * first.over_seeds.n)} of {first.over_seeds.n}",
                ]
            )
    if not rows:
        return ["No run has learned edges."]
    header = [
        "runs",
        "space",
        "planted reliability",
        "prior",
        *(f"{m}'s share" for m in modalities),
        "Kendall's tau",
        "most reliable first",
    ]
    tables = [
        "Each teacher's share of the learned edge weights (equal shares are "
        f"{1 / len(groups[0].reliability):.2f}), and how their order agrees with the planted reliability.",
        _grid(header, rows),
    ]
    changed = [
        [
            f"`{c.group.name}` − `{c.other.name}`",
            c.where[0],
            c.where[2],
            f"{c.group.reliability[c.where[2]]:g} instead of {c.other.reliability[c.where[2]]:g}",
            _difference(c),
            _p(c),
        ]
        for c in answer.contrasts
        if c.where[1] == "share" and c.where[2] in c.group.reliability and c.where[2] in c.other.reliability
    ]
    if changed:
        header = ["runs", "space", "teacher", "planted reliability", "difference of share", "p (Holm)"]
        tables += ["The same teacher's share where the planted reliability is another:", _grid(header, changed)]
    return tables


def about_edges(answer: Answer, group: Group) -> bool:
    """Return whether the table of edges shows a group: a complete one, or one without the prior only; the csv file has all."""
    with_prior = any(answer.value(group, space, "prior share", m) for space in SPACES for m in group.reliability)
    return not group.first.ablation or not with_prior


def _heads(answer: Answer, groups: Sequence[Group]) -> list[str]:
    metrics = _metrics(v.where[2] for v in answer.values)
    spaces = dict.fromkeys((*SPACES, *(v.where[0] for v in answer.values)))
    tables = []
    rows = [
        [f"`{g.name}`", space, m, *(_of(answer, g, space, m, key, written=_metric(key)) for key in metrics)]
        for g in in_detail(groups)
        for space in spaces
        for m in (*g.reliability, WEAK)
        if any(answer.value(g, space, m, key) for key in metrics)
    ]
    if rows:
        tables += ["Each unimodal head's own test metrics:", _grid(["runs", "space", "head", *_labels(metrics)], rows)]
    places = dict.fromkeys((c.group.name, c.other.name, *c.where[:2]) for c in answer.contrasts)
    at = {(c.group.name, c.other.name, *c.where): c for c in answer.contrasts}
    rows = [
        [f"`{place[0]}` − `{place[1]}`", *place[2:], *(_with_p(at.get((*place, key)), _metric(key)) for key in metrics)] for place in places
    ]
    if rows:
        header = ["difference", "space", "head", *_labels(metrics)]
        tables += [f"With distillation minus without it, seed by seed; {_P_SAYS} (the means over weak heads apart).", _grid(header, rows)]
    return tables or ["No run has unimodal heads."]


def _activations(answer: Answer, groups: Sequence[Group]) -> list[str]:
    sources = {
        "activations": "activations",
        "before training": "untrained activations",
        "features of the same space": "pooled features",
        "features of the input": "features",
    }
    header = ["target", "space", "modality", *sources, "entries in use", "active a clip"]
    tables = []
    for group in in_detail(groups):
        rows = []
        for target in ("composition", "valence"):
            for space in SPACES:
                for m in (*group.reliability, MEAN):
                    numbers = [_of(answer, group, target, source, space, m) for source in sources.values()]
                    used, of, active = (answer.value(group, "entries", what, space, m) for what in ("used", "all", "active"))
                    counts = [
                        _NONE if used is None or of is None else f"{used.over_seeds.mean:.0f} of {of.over_seeds.mean:.0f}",
                        _NONE if active is None else f"{active.over_seeds.mean:.1f}",
                    ]
                    rows.append([target, space, m, *numbers, *counts])
        rows = [row for row in rows if row[3] != _NONE]
        if rows:
            composition, valence = (_of(answer, group, target, "planted latent", "", "") for target in ("composition", "valence"))
            tables += [
                f"R², out of fold, of a linear reader of the activations in `{group.name}`; from the clip's mean planted latent, which no "
                f"network sees, it reads {composition} of the composition and {valence} of the valence:",
                _grid(header, rows),
            ]
    return tables or ["No run that is shown here has a dictionary."]


def _stages(answer: Answer, groups: Sequence[Group]) -> list[str]:
    metrics = _metrics(v.where[0] for v in answer.values)
    at = {(c.other.name, *c.where): c for c in answer.contrasts}
    header = ["runs", "seeds", *_labels(metrics), *(f"full − it: {label}" for label in _labels(metrics))]
    rows = [
        [
            f"`{g.name}`",
            str(len(g.runs)),
            *(_of(answer, g, key, written=_metric(key)) for key in metrics),
            *(_with_p(at.get((g.name, key)), _metric(key)) for key in metrics),
        ]
        for g in groups
    ]
    return [f"The differences are to the runs that lack nothing, seed by seed; {_P_SAYS}.", _grid(header, rows)]


_P_SAYS = "p is that of a paired t-test, by Holm within a metric"
_TABLES: Mapping[str, Callable[[Answer, Sequence[Group]], list[str]]] = {
    "readability": _readability,
    "edges": _edges,
    "heads": _heads,
    "activations": _activations,
    "stages": _stages,
}


def _of(
    answer: Answer,
    group: Group,
    *where: str,
    written: Callable[[float], str] = "{:.2f}".format,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    found: Value | None = answer.value(group, *where)
    if found is None:
        return _NONE
    interval = found.over_seeds.interval
    if interval is not None:  # with few seeds the interval may exceed the possible range
        interval = Interval(max(interval.low, bounds[0]), min(interval.high, bounds[1]))
    return _interval(found.over_seeds.mean, interval, written)


def _interval(mean: float, interval: Interval | None, written: Callable[[float], str]) -> str:
    if interval is None or interval.high - interval.low < SAME:
        return written(mean)
    return f"{written(mean)} [{written(interval.low)}, {written(interval.high)}]"


def _difference(c: Contrast, written: Callable[[float], str] = "{:+.2f}".format) -> str:
    return _interval(c.difference.mean, c.difference.interval, written)


def _p(c: Contrast) -> str:
    return _NONE if c.adjusted is None else "< 0.001" if c.adjusted < 0.001 else f"{c.adjusted:.3f}"


def _with_p(c: Contrast | None, written: Callable[[float], str]) -> str:
    if c is None:
        return _NONE
    p = _p(c)
    said = "" if p == _NONE else f", p {p}" if p.startswith("<") else f", p = {p}"
    return _interval(c.difference.mean, c.difference.interval, lambda x: ("+" if x > 0 else "") + written(x)) + said


def _metric(key: str) -> Callable[[float], str]:
    return "{:.3f}".format if key in NOT_A_SHARE else lambda x: f"{100 * x:.1f}"


def _metrics(keys: Iterable[str]) -> list[str]:
    there = set(keys)
    return [key for key in LABELS if key in there]


def _labels(metrics: Sequence[str]) -> list[str]:
    return [LABELS[key] + (" (lower is better)" if key in LOWER_IS_BETTER else "") for key in metrics]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _says(rows: Sequence[Sequence[str]], first: int) -> bool:
    return any(cell != _NONE for row in rows for cell in row[first:])


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
