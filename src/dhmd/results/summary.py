"""Summaries of runs that a table is made from, small enough to be committed beside it, and their grouping over seeds."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from dhmd.errors import RunError
from dhmd.evaluation.metrics import LABELS
from dhmd.evaluation.statistics import Summary, summarise
from dhmd.files import json_sha256
from dhmd.runs.identity import digest, identifying
from dhmd.runs.reader import Run, run_label


@dataclass(frozen=True)
class Entry:
    """One run as tables see it; every field is plain JSON.

    Attributes:
        run: the last two names of its folder.
        model: network preset.
        text_encoder: preset, or "" where the run does not say.
        ablation: preset, or "".
        seed: of the run.
        data: name of the data set.
        synthetic: whether the data were generated.
        aligned: whether the modalities share one clock; None where the run does not say.
        published_as: the published feature file the data are, None for any other.
        samples: number in each split.
        source_sha256: of the feature file, "" without one.
        task: what the label is.
        convention: of regression metrics.
        parameters: number of trained parameters.
        test: metrics of the test split; shares are fractions.
        configuration: SHA-256 of the resolved configuration without seed, paths and machine.
        metrics_sha256: of the run's metrics.json.
    """

    run: str
    model: str
    text_encoder: str
    ablation: str
    seed: int
    data: str
    synthetic: bool
    aligned: bool | None
    published_as: str | None
    samples: Mapping[str, int]
    source_sha256: str
    task: str
    convention: str
    parameters: int
    test: Mapping[str, float]
    configuration: str
    metrics_sha256: str

    @property
    def row(self) -> tuple[str, str, str, str]:
        """Key of the table's row: runs that differ by seed alone have the same one."""
        return self.model, self.text_encoder, self.ablation, self.configuration

    @property
    def table(self) -> tuple[Any, ...]:
        """Key of the table: runs with the same test samples and convention have the same one."""
        counts = tuple(sorted(self.samples.items()))
        return self.data, self.source_sha256, counts, str(self.aligned), self.task, self.convention, self.synthetic


@dataclass(frozen=True)
class Group:
    """The entries of one row, one a seed, by seed."""

    entries: tuple[Entry, ...]

    @property
    def first(self) -> Entry:
        """Stands for what all have in common."""
        return self.entries[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """In rising order."""
        return tuple(entry.seed for entry in self.entries)

    def summary(self, metric: str) -> Summary | None:
        """A test metric over seeds; None where a run lacks it."""
        values = [entry.test[metric] for entry in self.entries if metric in entry.test]
        return summarise(values) if len(values) == len(self.entries) else None


@dataclass(frozen=True)
class Table:
    """The groups that may be compared: same data, same samples, same convention.

    Attributes:
        groups: by model, text encoder, ablation.
        repeats: entries of a seed and configuration that a later folder repeats; they are not counted.
    """

    groups: tuple[Group, ...]
    repeats: tuple[Entry, ...]

    @property
    def first(self) -> Entry:
        """Stands for what all have in common."""
        return self.groups[0].first

    def metrics(self) -> list[str]:
        """Keys of the test metrics, in the order of LABELS."""
        there = {key for group in self.groups for entry in group.entries for key in entry.test}
        return [key for key in LABELS if key in there]


def entry_of(run: Run) -> Entry:
    """The entry of a run."""
    metrics, data = run.metrics, run.description
    source = data.get("source") or {}
    return Entry(
        run=run_label(run.path),
        model=metrics["model"],
        text_encoder=metrics.get("text_encoder") or "",
        ablation=metrics.get("ablation") or "",
        seed=metrics["seed"],
        data=metrics["data"],
        synthetic=metrics["synthetic"],
        aligned=data.get("aligned"),
        published_as=data.get("published_as"),
        samples=dict(data.get("samples") or {}),
        source_sha256=source.get("sha256") or "",
        task=metrics["task"],
        convention=metrics.get("convention") or "",
        parameters=metrics["parameters"],
        test=run.test,
        configuration=digest(run.config),
        metrics_sha256=run.metrics_sha256,
    )


def differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the keys in which configurations differ, each with its value, by digest; a key that a configuration lacks is null."""
    flat = {name: identifying(config) for name, config in configs.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    unequal = [key for key in keys if len({json.dumps(values.get(key)) for values in flat.values()}) > 1]
    return {name: {key: values.get(key) for key in unequal} for name, values in flat.items()}


def tables_of(entries: Iterable[Entry]) -> list[Table]:
    """Group entries into tables and rows. Of entries with one seed and configuration the last by folder name counts."""
    by_table: dict[tuple[Any, ...], dict[tuple[str, ...], dict[int, Entry]]] = {}
    repeats: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.run):
        seeds = by_table.setdefault(entry.table, {}).setdefault(entry.row, {})
        if entry.seed in seeds:
            repeats.setdefault(entry.table, []).append(seeds[entry.seed])
        seeds[entry.seed] = entry
    return [
        Table(
            groups=tuple(Group(tuple(seeds[s] for s in sorted(seeds))) for _, seeds in sorted(rows.items())),
            repeats=tuple(repeats.get(key, ())),
        )
        for key, rows in sorted(by_table.items())
    ]


def entries_to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Plain objects, each with the SHA-256 of its content as "digest"."""
    return seal(entries)


def entries_from_json(objects: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Read back what `entries_to_json` wrote.

    Raises:
        RunError: an entry lacks a field, or its content does not fit its digest: it was edited.
    """
    names = [field.name for field in fields(Entry)]
    return [Entry(**content) for content in unseal(objects, names, "entry")]


def seal(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Data classes as plain objects, each with the SHA-256 of its content as "digest"."""
    return [{**(plain := asdict(item)), "digest": json_sha256(plain)} for item in items]


def unseal(objects: Iterable[Mapping[str, Any]], names: Collection[str], what: str) -> list[dict[str, Any]]:
    """The contents of what `seal` wrote, without their digests.

    Args:
        objects: as read from JSON.
        names: the fields each must have.
        what: one of them is, for messages.

    Raises:
        RunError: a field is missing, or the content does not fit its digest: it was edited.
    """
    contents = []
    for number, item in enumerate(objects):
        content = {key: value for key, value in item.items() if key != "digest"}
        if set(content) != set(names):
            raise RunError(
                f"{what} {number}: found the fields {sorted(content)}, expected {sorted(names)}; write the record again from the runs"
            )
        if json_sha256(content) != item.get("digest"):
            name = f" ({content['run']})" if "run" in content else ""
            raise RunError(f"{what} {number}{name}: does not fit its digest: it was edited; write the record again from the runs")
        contents.append(content)
    return contents
