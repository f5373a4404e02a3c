"""Figures of the answers: one dot a number, a bar for its 95 % interval over seeds, a row for each subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dhmd.analysis.style import PALETTE, colours, drawing, new_figure, save
from dhmd.evaluation.metrics import LABELS, LOWER_IS_BETTER, NOT_A_SHARE
from dhmd.evaluation.statistics import Interval
from dhmd.probe.groups import Group, in_detail
from dhmd.probe.questions import MEAN, WEAK, Answer
from dhmd.probe.tables import SPACES, about_edges

BLUE, ORANGE, GREEN, GREY = *PALETTE[:3], "#777777"


_Place = Literal["outside lower center", "outside lower left", "outside lower right"]


class Dot(NamedTuple):
    """A number to draw; hollow dots are controls."""

    mean: float
    interval: Interval | None
    colour: str
    label: str
    hollow: bool = False
    marker: str = "o"


def draw(answers: Mapping[str, Answer], groups: Sequence[Group], folder: Path) -> list[Path]:
    """Write each question's figure as png and svg; a question without numbers to draw has none.

    Args:
        answers: answers by name, from `dhmd.probe.questions.ask`.
        groups: all groups, in the order of the tables.
        folder: the output folder.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    with drawing():
        for name, figure in (
            ("readability", _readability(answers["readability"], groups)),
            ("edges", _edges(answers["edges"], groups)),
            ("heads", _heads(answers["heads"])),
            ("activations", _activations(answers["activations"], groups)),
            ("stages", _stages(answers["stages"])),
        ):
            if figure is not None:
                written += save(figure, folder, name)
    return written


def _readability(answer: Answer, groups: Sequence[Group]) -> Figure | None:
    group = next((g for g in in_detail(groups) if answer.value(g, "read", "shared", "selectivity", MEAN)), None)
    if group is None:
        return None
    sources = (
        ("part homogeneous", BLUE, "homogeneous part", False, "o"),
        ("part heterogeneous", ORANGE, "heterogeneous part", False, "o"),
        ("untrained part homogeneous", BLUE, "homogeneous part before training", True, "o"),
        ("untrained part heterogeneous", ORANGE, "heterogeneous part before training", True, "o"),
        ("features", GREY, "features", False, "|"),
    )
    selective = [g for g in groups if answer.value(g, "read", "shared", "selectivity", MEAN)]
    below = (("selectivity", GREEN, "share of variance", False, "o"), ("untrained selectivity", GREEN, "before training", True, "o"))
    heights = [3 + 4.5 * len(group.reliability)] * 2 + [4 + 2.4 * len(selective)]
    figure = new_figure(7.2, 0.9 + 0.085 * sum(heights), f"What each part holds (synthetic data, {_seeds([group])})")
    grid = figure.subplots(3, 2, height_ratios=heights)
    for column, (target, says) in enumerate((("shared", "shared latent"), ("private", "own private factors"))):
        for row, (measure, means) in enumerate((("read", "R² of a linear reader"), ("content", "share of variance"))):
            places = [(measure, target, s, m) for m in group.reliability for s, *_ in sources]
            of = {m: [p for p in places if p[-1] == m] for m in group.reliability}
            rows = {m: _dots(answer, group, of[m], [s[1:] for s in sources]) for m in group.reliability}
            _forest(grid[row, column], rows, f"{says}: {means}", None, names=column == 0)
            grid[row, column].set_xlim(min(0.0, grid[row, column].get_xlim()[0]), 1.02)
        rows = {
            g.name: _dots(answer, g, [("read", target, "selectivity", MEAN)], [(GREY, "R²", False, "D")])
            + _dots(answer, g, [("content", target, s, MEAN) for s, *_ in below], [s[1:] for s in below])
            for g in selective
        }
        meant = "homogeneous − heterogeneous" if target == "shared" else "heterogeneous − homogeneous"
        _forest(grid[2, column], rows, f"{says}, mean of modalities:\n{meant} part", 0.0, names=column == 0)
    _legend(figure, [grid[0, 0]], "R² and share of variance", "outside lower left")
    _legend(figure, [grid[2, 0]], "difference of", "outside lower right")
    return figure


def _edges(answer: Answer, groups: Sequence[Group]) -> Figure | None:
    shown = [g for g in groups if about_edges(answer, g) and any(answer.value(g, s, "agreement", "teachers") for s in SPACES)]
    if not shown:
        return None
    colour = colours(list(dict.fromkeys(m for g in shown for m in g.reliability)))
    figure = new_figure(7.2, 1.3 + 0.5 * len(shown), f"Who teaches: share of the learned edge weights (synthetic data, {_seeds(shown)})")
    panels = figure.subplots(1, 2, sharex=True)
    for axes, space in zip(panels, SPACES, strict=True):
        rows = {}
        for g in shown:
            learned = [(space, "share", m) for m in g.reliability]
            prior = [(space, "prior share", m) for m in g.reliability]
            name = f"{g.name}\n" + ", ".join(f"{m[:3]} {r:g}" for m, r in g.reliability.items())
            rows[name] = _dots(answer, g, learned, [(colour[m], f"{m} teaches", False, "o") for m in g.reliability])
            rows[name] += _dots(answer, g, prior, [(colour[m], f"{m}'s share of the prior", True, "D") for m in g.reliability])
        _forest(axes, rows, space, 1 / len(shown[0].reliability), names=axes is panels[0], spread=0.5)
    _legend(figure, panels)
    return figure


def _heads(answer: Answer) -> Figure | None:
    metrics = _metrics({c.where[2] for c in answer.contrasts})
    if not metrics:
        return None
    pairs = _pairs(answer)
    heads = list(dict.fromkeys(c.where[1] for c in answer.contrasts))
    colour = {**colours([m for m in heads if m != WEAK]), WEAK: "#000000"}
    figure = new_figure(7.2, 1.4 + 0.85 * len(pairs), f"Unimodal heads: the full system minus these (synthetic data, {_seeds(pairs[0])})")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    at = {(c.group.name, c.other.name, *c.where): c.difference for c in answer.contrasts}
    for axes, metric in zip(panels, metrics, strict=True):
        rows = {}
        for a, b in pairs:
            for space in SPACES:
                found = [(head, at.get((a.name, b.name, space, head, metric))) for head in heads]
                dots = [Dot(d.mean, d.interval, colour[head], head, marker="s" if head == WEAK else "o") for head, d in found if d]
                if dots:
                    rows[f"{b.name}\n{space}"] = _scaled(dots, metric)
        _forest(axes, rows, _better(metric), 0.0, names=axes is panels[0])
    _legend(figure, panels)
    return figure


def _activations(answer: Answer, groups: Sequence[Group]) -> Figure | None:
    group = next((g for g in in_detail(groups) if any(v.group is g and v.where[1] == "activations" for v in answer.values)), None)
    if group is None:
        return None
    sources = (
        ("activations", BLUE, "activations", False, "o"),
        ("untrained activations", BLUE, "activations before training", True, "o"),
        ("pooled features", GREY, "features of the same space", False, "|"),
    )
    figure = new_figure(
        7.2, 1.2 + 0.5 * len(group.reliability), f"What a linear reader finds in activations (synthetic data, {_seeds([group])})"
    )
    panels = figure.subplots(1, 2)
    for axes, (target, says) in zip(panels, (("composition", "planted tokens of the clip"), ("valence", "mean valence")), strict=True):
        rows = {
            f"{m}, {space[:6]}.": _dots(answer, group, ((target, s, space, m) for s, *_ in sources), [s[1:] for s in sources])
            for space in SPACES
            for m in group.reliability
        }
        reference = answer.value(group, target, "planted latent", "", "")
        if reference is not None:
            axes.axvline(reference.over_seeds.mean, color="#000000", linewidth=0.9, linestyle=":", label="planted latent")
        _forest(axes, {name: dots for name, dots in rows.items() if dots}, f"{says}: R²", 0.0, names=axes is panels[0])
    _legend(figure, panels)
    return figure


def _stages(answer: Answer) -> Figure | None:
    metrics = _metrics({c.where[0] for c in answer.contrasts})
    if not metrics:
        return None
    pairs = _pairs(answer)
    figure = new_figure(7.2, 1.1 + 0.27 * len(pairs), f"The full system minus these (synthetic data, {_seeds([p[1] for p in pairs])})")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    at = {(c.group.name, c.other.name, *c.where): c.difference for c in answer.contrasts}
    for axes, metric in zip(panels, metrics, strict=True):
        rows = {}
        for a, b in pairs:
            d = at[a.name, b.name, metric]
            rows[b.name] = _scaled([Dot(d.mean, d.interval, BLUE, "")], metric)
        _forest(axes, rows, _better(metric), 0.0, names=axes is panels[0])
    return figure


def _pairs(answer: Answer) -> list[tuple[Group, Group]]:
    return list({(c.group.name, c.other.name): (c.group, c.other) for c in answer.contrasts}.values())


def _dots(answer: Answer, group: Group, places: Iterable[tuple[str, ...]], styles: Sequence[tuple[str, str, bool, str]]) -> list[Dot]:
    """Return the dots of the numbers that exist, each in its style: colour, label, hollow, marker."""
    found = [(answer.value(group, *place), style) for place, style in zip(places, styles, strict=True)]
    return [Dot(v.over_seeds.mean, v.over_seeds.interval, *style) for v, style in found if v is not None]


def _forest(
    axes: Axes, rows: Mapping[str, Sequence[Dot]], title: str, zero: float | None, *, names: bool = True, spread: float = 0.7
) -> None:
    """Draw a row a name, from the top; the dots of a row are one below the other."""
    if zero is not None:
        axes.axvline(zero, color="#999999", linewidth=0.8)
    for i, dots in enumerate(rows.values()):
        for k, dot in enumerate(dots):
            y = i + (spread * ((k + 0.5) / len(dots) - 0.5) if len(dots) > 1 else 0.0)
            if dot.interval is not None:
                axes.plot([dot.interval.low, dot.interval.high], [y, y], color=dot.colour, linewidth=1.0, alpha=0.8)
            size = 7 if dot.marker == "|" else 3.6
            face = "white" if dot.hollow else dot.colour
            axes.plot([dot.mean], [y], dot.marker, color=dot.colour, markerfacecolor=face, markersize=size, label=dot.label or None)
    axes.set_yticks(range(len(rows)), list(rows) if names else [""] * len(rows))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left")


def _legend(figure: Figure, panels: Iterable[Axes], title: str = "", place: _Place = "outside lower center") -> None:
    """Draw one legend for all panels, below them."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = 3 if len(entries) > 4 and not title else 2 if title else len(entries)
    figure.legend(list(entries.values()), list(entries), loc=place, ncols=columns, fontsize=7, title=title)


def _metrics(keys: Iterable[str]) -> list[str]:
    there = set(keys)
    return [key for key in LABELS if key in there]


def _scaled(dots: Sequence[Dot], metric: str) -> list[Dot]:
    """Return shares in percentage points."""
    factor = 1.0 if metric in NOT_A_SHARE else 100.0
    return [
        d._replace(mean=factor * d.mean, interval=d.interval and Interval(factor * d.interval.low, factor * d.interval.high)) for d in dots
    ]


def _better(metric: str) -> str:
    return (
        f"{LABELS[metric]}{'' if metric in NOT_A_SHARE else ', points'}\n{'left' if metric in LOWER_IS_BETTER else 'right'} of 0: it helps"
    )


def _seeds(groups: Iterable[Group]) -> str:
    counts = sorted({len(g.runs) for g in groups})
    return "one seed" if counts == [1] else f"{'–'.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} seeds, 95 % intervals"
