"""Groups of runs that differ by seed alone, their numbers over seeds, and paired comparisons of two groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dhmd.evaluation.statistics import Difference, Summary, holm, paired_difference, summarise
from dhmd.probe.measure import Measured

Where = tuple[str, ...]
"""Subject of a number, one word for each column of its question's table."""
Derive = Callable[[Measured], Mapping[Where, float]]
"""Function from a run to its numbers for a question."""

FULL = "full"  # name in tables of a group without an ablation


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, one a seed, by seed.

    Attributes:
        name: name in tables: the ablation, and whatever else distinguishes it.
        runs: the runs by rising seed.
    """

    name: str
    runs: tuple[Measured, ...]

    @property
    def first(self) -> Measured:
        """The first run, which represents the properties that all runs share."""
        return self.runs[0]

    @property
    def reliability(self) -> Mapping[str, float]:
        """Planted reliability, by modality."""
        return self.first.reliability


@dataclass(frozen=True)
class Value:
    """A number of a group over its seeds."""

    group: Group
    where: Where
    over_seeds: Summary


@dataclass(frozen=True)
class Contrast:
    """Difference ``group`` minus ``other`` over the seeds both have; ``adjusted`` is p corrected by Holm within the family."""

    group: Group
    other: Group
    where: Where
    difference: Difference
    adjusted: float | None


def grouped(measured: Iterable[Measured]) -> list[Group]:
    """Group runs by configuration, groups without an ablation first; of two runs with one seed, the last by folder name counts."""
    found: dict[tuple[str, str, str, str], dict[int, Measured]] = {}
    for one in sorted(measured, key=lambda m: m.run):
        found.setdefault((one.data, one.model, one.ablation, one.configuration), {})[one.seed] = one
    several = len({model for _, model, _, _ in found}) > 1
    groups = [
        Group(f"{model} {ablation or FULL}" if several else ablation or FULL, tuple(seeds[s] for s in sorted(seeds)))
        for (_, model, ablation, _), seeds in sorted(found.items())
    ]
    for more in ("data", "configuration"):
        alike: dict[str, set[str]] = {}
        for g in groups:
            alike.setdefault(g.name, set()).add(getattr(g.first, more))
        groups = [replace(g, name=f"{g.name}, {_shown(g, more)}") if len(alike[g.name]) > 1 else g for g in groups]
    return sorted(groups, key=lambda g: bool(g.first.ablation))


def over_seeds(groups: Iterable[Group], derive: Derive) -> list[Value]:
    """Return every number of a question that all runs of a group have, over its seeds."""
    values = []
    for group in groups:
        found = [derive(run) for run in group.runs]
        values += [Value(group, w, summarise([f[w] for f in found])) for w in found[0] if all(w in f for f in found)]
    return values


def contrasts(pairs: Iterable[tuple[Group, Group]], derive: Derive, family: Callable[[Where], object]) -> list[Contrast]:
    """Return the first group minus the second of each pair, seed by seed, on every common number; p is by Holm within a family."""
    found = []
    for a, b in pairs:
        of_a, of_b = ({run.seed: derive(run) for run in group.runs} for group in (a, b))
        seeds = sorted(of_a.keys() & of_b.keys())
        for where in of_a[seeds[0]] if seeds else ():
            if all(where in of[seed] for of in (of_a, of_b) for seed in seeds):
                difference = paired_difference([of_a[s][where] for s in seeds], [of_b[s][where] for s in seeds])
                found.append(Contrast(a, b, where, difference, None))
    families: dict[object, list[int]] = {}
    for i, contrast in enumerate(found):
        if contrast.difference.p is not None:
            families.setdefault(family(contrast.where), []).append(i)
    for members in families.values():
        for i, adjusted in zip(members, holm([found[i].difference.p or 0.0 for i in members]), strict=True):
            found[i] = replace(found[i], adjusted=adjusted)
    return found


def with_reference(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Pair each ablation with the one complete group of its corpus, model and data name; none unless there is exactly one."""
    pairs = []
    for group in groups:
        alike = [g for g in groups if not g.first.ablation and (g.first.corpus, g.first.model) == (group.first.corpus, group.first.model)]
        if group.first.ablation and len(alike) == 1:
            pairs.append((alike[0], group))
    return pairs


def exchanged(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Return pairs of groups of one model and ablation whose corpora differ in reliability."""
    return [
        (a, b)
        for i, a in enumerate(groups)
        for b in groups[i + 1 :]
        if (a.first.model, a.first.ablation) == (b.first.model, b.first.ablation) and a.reliability != b.reliability
    ]


def in_detail(groups: Sequence[Group]) -> list[Group]:
    """Return the complete groups (without an ablation), or all groups if there are none."""
    return [g for g in groups if not g.first.ablation] or list(groups)


def _shown(group: Group, field: str) -> str:
    value: str = getattr(group.first, field)
    return value[:7] if field == "configuration" else value
