"""Computations from predictions.csv beyond the runs' metrics: comparisons with a reference, and bootstrap intervals.

The results are small: a committed record keeps them, with the hashes of the files they were computed from, in place of the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dhmd.errors import RunError
from dhmd.evaluation.resampling import RESAMPLES, Array, bootstrap_interval, crossed_test, draw_metrics
from dhmd.evaluation.samples import Samples, check_same_samples, read_samples
from dhmd.results.pairing import pairings
from dhmd.results.summary import Entry, Group, Table
from dhmd.runs.reader import Run


@dataclass(frozen=True)
class Comparison:
    """Comparison of a row with its reference; every field is plain JSON.

    Attributes:
        row: SHA-256 of metrics.json of each of the row's runs, by seed.
        reference: SHA-256 of metrics.json of each of the reference's runs, by seed.
        seeds: seeds that both have.
        samples: number of test samples; 0 if they were not read.
        videos: number of videos that the samples come from.
        resamples: number of draws of videos.
        predictions: SHA-256 of predictions.csv: of the row's runs of these seeds, then of the reference's.
        metrics: by key "difference" (row minus reference), "error", "low", "high", "p" (None if it was not tested).
        why: the reason why there is no test; "" otherwise.
    """

    row: tuple[str, ...]
    reference: tuple[str, ...]
    seeds: tuple[int, ...]
    samples: int
    videos: int
    resamples: int
    predictions: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, float | None]]
    why: str


@dataclass(frozen=True)
class Bootstrapped:
    """Bootstrap intervals of a row's means; every field is plain JSON.

    Attributes:
        row: SHA-256 of metrics.json of each of the row's runs, by seed.
        samples: number of test samples.
        videos: number of videos that the samples come from.
        resamples: number of draws of seeds and videos.
        predictions: SHA-256 of predictions.csv of each run.
        intervals: low and high by key.
    """

    row: tuple[str, ...]
    samples: int
    videos: int
    resamples: int
    predictions: tuple[str, ...]
    intervals: Mapping[str, tuple[float, float]]


class Predictions:
    """Predictions of runs and their metrics on draws of the test split, each read and computed once.

    Args:
        runs: the finished runs.
        resamples: number of draws.
    """

    def __init__(self, runs: Sequence[Run], resamples: int = RESAMPLES) -> None:
        self.resamples = resamples
        self._paths = {run.metrics_sha256: run for run in runs}
        self._samples: dict[str, Samples] = {}
        self._drawn: dict[str, dict[str, Array]] = {}

    def of(self, entry: Entry) -> Samples:
        """Return the test samples of an entry's run.

        Raises:
            RunError: predictions.csv is missing, damaged or not of this run.
        """
        sha = entry.metrics_sha256
        if sha not in self._samples:
            self._samples[sha] = read_samples(self._paths[sha])
        return self._samples[sha]

    def drawn(self, entry: Entry) -> dict[str, Array]:
        """Return the metrics (B,) of an entry's run on the draws."""
        sha, found = entry.metrics_sha256, self.of(entry)
        if sha not in self._drawn:
            draws = draw_metrics([found.prediction], found.label, found.video, found.function, resamples=self.resamples)
            self._drawn[sha] = {name: values[0] for name, values in draws.items()}
        return self._drawn[sha]

    def place(self, entry: Entry) -> Path:
        """Return the run's folder."""
        return self._paths[entry.metrics_sha256].path


def compare(tables: Sequence[Table], predictions: Predictions, reference: str = "") -> list[Comparison]:
    """Compare every row that has a reference (`dhmd.results.pairing.pairings`) with it.

    Raises:
        UsageError: the reference matches no row, or several.
    """
    return [
        compare_rows(table.groups[row], table.groups[other], predictions)
        for table, pairing in zip(tables, pairings(tables, reference), strict=True)
        for row, other in pairing.pairs
    ]


def compare_rows(group: Group, reference: Group, predictions: Predictions) -> Comparison:
    """Compare a row with another over the seeds that both have; ``why`` says why a test is missing."""
    ours, theirs = ({e.seed: e for e in g.entries} for g in (group, reference))
    seeds = tuple(s for s in group.seeds if s in theirs)
    pairs = [(ours[s], theirs[s]) for s in seeds]
    keys = [key for key in group.first.test if key != "loss" and all(key in e.test for pair in pairs for e in pair)]
    metrics: dict[str, dict[str, float | None]] = {}
    for key in keys if pairs else ():
        difference = float(np.mean([a.test[key] - b.test[key] for a, b in pairs]))
        metrics[key] = {"difference": difference, "error": None, "low": None, "high": None, "p": None}
    entries = [a for a, _ in pairs] + [b for _, b in pairs]
    samples, videos, why = 0, 0, "no seed in common" if not pairs else ""
    shas: tuple[str, ...] = ()
    if pairs:
        try:
            found = [predictions.of(e) for e in entries]
            check_same_samples(found)
            samples, videos, shas = len(found[0].ids), int(found[0].video.max()) + 1, tuple(s.sha256 for s in found)
            why = _why_not(len(pairs), videos)
        except RunError as error:
            why = _without_place(str(error), [predictions.place(e) for e in entries])
    for key in keys if not why else ():
        d = [a.test[key] - b.test[key] for a, b in pairs]
        drawn = np.array([predictions.drawn(a)[key] - predictions.drawn(b)[key] for a, b in pairs])
        test = crossed_test(d, drawn, videos)
        if test is not None:
            metrics[key] |= {"error": test.error, "low": test.interval.low, "high": test.interval.high, "p": test.p}
    return Comparison(_shas(group), _shas(reference), seeds, samples, videos, predictions.resamples, shas, metrics, why)


def bootstrap_rows(tables: Sequence[Table], predictions: Predictions) -> list[Bootstrapped]:
    """Return the bootstrap intervals of every row.

    Raises:
        RunError: predictions of a run are missing or damaged, or the runs of a row were tested on other samples.
    """
    done = []
    for group in (group for table in tables for group in table.groups):
        found = [predictions.of(e) for e in group.entries]
        try:
            check_same_samples(found)
        except RunError as error:
            raise RunError(f"--interval bootstrap: {error}; over such runs only --interval t says something") from error
        draws = [predictions.drawn(e) for e in group.entries]
        intervals = {}
        for key in draws[0]:
            interval = bootstrap_interval(np.array([d[key] for d in draws]))
            intervals[key] = (interval.low, interval.high)
        videos, shas = int(found[0].video.max()) + 1, tuple(s.sha256 for s in found)
        done.append(Bootstrapped(_shas(group), len(found[0].ids), videos, predictions.resamples, shas, intervals))
    return done


def _why_not(seeds: int, videos: int) -> str:
    if seeds == 1:
        return "one seed in common says nothing about seeds"
    return "one video says nothing about videos" if videos == 1 else ""


def _shas(group: Group) -> tuple[str, ...]:
    return tuple(e.metrics_sha256 for e in group.entries)


def _without_place(message: str, places: Sequence[Path]) -> str:
    """Return a message that can be committed: folders of this machine are replaced by the names of runs."""
    for place in places:
        message = message.replace(str(place), place.name)
    return message
