"""The five questions of the probe: the numbers of a run that answer each, and the groups that are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TypeVar

from scipy import stats

from dhmd.probe.groups import Contrast, Derive, Group, Value, Where, contrasts, exchanged, over_seeds, with_reference
from dhmd.probe.measure import Measured
from dhmd.probe.truth import weak

T = TypeVar("T")
MEASURES = {"readability": "read", "content": "content"}
MEAN = "mean"  # place of a mean over modalities
WEAK = "weak heads"  # place of a mean over the modalities below the largest reliability


@dataclass(frozen=True)
class Answer:
    """Answer to a question.

    Attributes:
        name: name of the question, and of its files and markers.
        columns: meaning of the words of each number's subject.
        values: numbers by group.
        contrasts: differences between groups.
    """

    name: str
    columns: tuple[str, ...]
    values: Sequence[Value]
    contrasts: Sequence[Contrast]

    def value(self, group: Group, *where: str) -> Value | None:
        """Return a group's number for a subject."""
        return self._at.get((group.name, *where))

    @cached_property
    def _at(self) -> dict[Where, Value]:
        return {(v.group.name, *v.where): v for v in self.values}


def ask(groups: Sequence[Group]) -> dict[str, Answer]:
    """Return the answers to all questions, by name."""
    pairs = with_reference(groups)
    taught_less = [(a, b) for a, b in pairs if _taught_less(a.first, b.first)]
    asked: tuple[tuple[str, tuple[str, ...], Derive, Sequence[tuple[Group, Group]], Callable[[Where], object]], ...] = (
        ("readability", ("measure", "target", "of", "modality"), readability, (), str),
        ("edges", ("space", "what", "of"), edges, exchanged(groups), lambda where: where[:2]),
        ("heads", ("space", "head", "metric"), heads, taught_less, lambda where: (where[1] == WEAK, where[2])),
        ("activations", ("target", "read from", "space", "modality"), activations, (), str),
        ("stages", ("metric",), stages, pairs, str),
    )
    return {
        name: Answer(name, columns, over_seeds(groups, derive), contrasts(compared, derive, family))
        for name, columns, derive, compared, family in asked
    }


def readability(run: Measured) -> dict[Where, float]:
    """Answer how well a linear probe reads each target: R^2 (``read``) and share of the source's variance (``content``).

    The numbers are by measure, target, source and modality. ``selectivity`` of the shared latent is the number of c_m minus that of s_m;
    for the private factors it is the reverse. ``untrained ...`` is the number of the network before training, ``... gained`` the
    difference, and ``pooled ...`` the number of the feature that enters fusion.
    """
    found = {(name, *where): x for kind, name in MEASURES.items() for where, x in _below(run, kind).items()}
    for measure, m in _unique((where[0], where[3]) for where in found):
        for target, meant, other in (("shared", "homogeneous", "heterogeneous"), ("private", "heterogeneous", "homogeneous")):
            for kind, name in (("part", "selectivity"), ("pooled", "pooled selectivity")):
                for prefix in ("", "untrained "):
                    a, b = ((measure, target, f"{prefix}{kind} {space}", m) for space in (meant, other))
                    if a in found and b in found:
                        found[measure, target, f"{prefix}{name}", m] = found[a] - found[b]
                after, before = ((measure, target, f"{prefix}{name}", m) for prefix in ("", "untrained "))
                if before in found:
                    found[measure, target, f"{name} gained", m] = found[after] - found[before]
    return _with_means(found)


def edges(run: Measured) -> dict[Where, float]:
    """Return learned weights by edge, each teacher's share of them, and the agreement of the shares with reliability.

    A teacher's share is the sum over its students / the sum over all edges. ``agreement`` is Kendall's tau between teachers' shares and
    reliability (0 where shares are equal); ``first`` is 1 where the most reliable modality has the largest share, else 0.
    """
    found: dict[Where, float] = {}
    for kind, names in (("edges", ("weight", "share")), ("prior", ("prior", "prior share"))):
        for (space, edge), weight in _below(run, kind).items():
            found[space, names[0], edge] = weight
            teacher = edge.split("->")[0]
            found[space, names[1], teacher] = found.get((space, names[1], teacher), 0.0) + weight
        for space in _unique(where[0] for where in found):
            shares = {where: x for where, x in found.items() if where[:2] == (space, names[1])}
            found |= {where: x / sum(shares.values()) for where, x in shares.items()}
    for space in _unique(where[0] for where in found):
        share = {where[2]: x for where, x in found.items() if where[:2] == (space, "share")}
        tau, best = agreement(share, run.reliability)
        found[space, "agreement", "teachers"] = tau
        found[space, "first", "teachers"] = best
    return found


def agreement(share: Mapping[str, float], reliability: Mapping[str, float]) -> tuple[float, float]:
    """Return Kendall's tau of two orders of the modalities, and 1 if both have the same first modality, else 0."""
    tau = float(stats.kendalltau([share[m] for m in share], [reliability[m] for m in share]).statistic)
    best = [m for m in share if reliability[m] == max(reliability[n] for n in share)]
    leads = len(best) == 1 and all(share[best[0]] > share[m] for m in share if m != best[0])
    return (tau if tau == tau else 0.0), float(leads)


def heads(run: Measured) -> dict[Where, float]:
    """Return each unimodal head's own metrics, and their mean over the weak modalities."""
    found = _below(run, "heads")
    behind = weak(run.reliability)
    for space in _unique(where[0] for where in found):
        for metric in _unique(where[2] for where in found):
            if behind:
                found[space, WEAK, metric] = fmean(found[space, m, metric] for m in behind)
    return found


def activations(run: Measured) -> dict[Where, float]:
    """Return R^2 of a linear probe of activations by target, source, space and modality; entries in use; ``gained`` over the untrained."""
    found = _below(run, "activations")
    for (target, source, space, m), x in list(found.items()):
        if source == "activations":
            found[target, "gained", space, m] = x - found[target, "untrained activations", space, m]
    rest = {("entries", *where): x for where, x in _below(run, "entries").items()}
    return _with_means(found) | rest | {(*where, "planted latent", "", ""): x for where, x in _below(run, "oracle").items()}


def stages(run: Measured) -> dict[Where, float]:
    """Return the test metrics of the whole network."""
    return _below(run, "stages")


def _below(run: Measured, kind: str) -> dict[Where, float]:
    paths = {tuple(path.split("/")): x for path, x in run.values.items()}
    return {path[1:]: x for path, x in paths.items() if path[0] == kind}


def _with_means(found: dict[Where, float]) -> dict[Where, float]:
    """Return the numbers and their mean over modalities, the last word of their subject."""
    by_place: dict[Where, list[float]] = {}
    for where, x in found.items():
        by_place.setdefault(where[:-1], []).append(x)
    return {**found, **{(*place, MEAN): fmean(values) for place, values in by_place.items()}}


def _taught_less(a: Measured, b: Measured) -> bool:
    """Return whether a space of the first distils between its heads, and that of the second has the heads alone."""
    taught, taught_other = ({where[0] for where in _below(run, "edges")} for run in (a, b))
    return bool(taught - taught_other & {where[0] for where in _below(b, "heads")})


def _unique(names: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(names))
