"""New splits of a store's samples: cross-validation by video, or a test set of given groups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.layouts import SPLITS
from dhmd.data.sources.frames import CHUNK
from dhmd.data.store.reader import Store
from dhmd.data.store.statistics import FrameStatistics, count_non_finite
from dhmd.errors import UsageError, data_error

VIDEO = "video"
VALID_SHARE = 10  # one in this many of the remaining samples is for validation, as in MUStARD's own code

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Resplit:
    """Options of new splits; the samples of all three splits are pooled.

    Attributes:
        folds: number of folds of a cross-validation, at least 3; None for none.
        fold: number of the fold that is the test set, from 0; the next one (after the last, the first) is for validation.
        group_by: grouping that is never split: ``video`` (the id up to ``$_$``) or a column of the csv of a folder.
        test_groups: groups that are the test set, instead of folds; of the other samples one in ten is for validation, by a hash of
            its id. With group_by=show and test_groups=[FRIENDS] this is MUStARD's speaker-independent split.
    """

    folds: int | None = None
    fold: int = 0
    group_by: str = VIDEO
    test_groups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UsageError: options contradict each other or are out of range.
        """
        if self.folds is not None and self.test_groups:
            raise UsageError("data.folds and data.test_groups: found both, expected one of them")
        if self.folds is not None and (self.folds < 3 or not 0 <= self.fold < self.folds):
            raise UsageError(
                f"data.folds={self.folds}, data.fold={self.fold}: expected at least 3 folds (train, validation, test) and a fold from 0 to "
                f"{max(self.folds, 3) - 1}"
            )

    @property
    def wanted(self) -> bool:
        """True if the store's own splits are replaced."""
        return self.folds is not None or bool(self.test_groups)

    def rows(self, groups: Sequence[str], ids: Sequence[str]) -> dict[str, Rows]:
        """Return the pooled rows of each split, in pooled order.

        Args:
            groups: group of each pooled sample.
            ids: id of each pooled sample.

        Raises:
            UsageError: there are fewer groups than folds, a group does not exist, or no samples are left beside the test groups.
        """
        if self.test_groups:
            if unknown := sorted(set(self.test_groups) - set(groups)):
                known = ", ".join(sorted(set(groups))[:20])
                raise UsageError(f"data.test_groups: found {unknown[0]!r}, expected some of {known} (data.group_by={self.group_by})")
            part = [0 if g in self.test_groups else 1 + (_hash(i) % VALID_SHARE == 0) for g, i in zip(groups, ids, strict=True)]
            wanted = {"train": [1], "valid": [2], "test": [0]}
        else:
            folds, n = self.folds or 0, len(set(groups))
            if n < folds:
                raise UsageError(f"data.folds={folds}: there are only {n} groups by {self.group_by}; choose at most {n} folds")
            part = _folds(groups, folds)
            valid = (self.fold + 1) % folds
            wanted = {"train": [f for f in range(folds) if f not in (self.fold, valid)], "valid": [valid], "test": [self.fold]}
        found = {s: np.flatnonzero(np.isin(part, wanted[s])) for s in SPLITS}
        if empty := [s for s in SPLITS if not len(found[s])]:
            raise UsageError(f"data.test_groups={list(self.test_groups or ())}: nothing is left for {empty[0]}; choose fewer groups")
        return found


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode(errors="replace")).digest()[:8], "little")


def _folds(groups: Sequence[str], folds: int) -> list[int]:
    """Return the fold of each sample: groups from large to small (ties by a hash of their name), each to the smallest fold so far."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    filled, fold_of = [0] * folds, {}
    for group in sorted(sizes, key=lambda g: (-sizes[g], _hash(g))):
        fold_of[group] = filled.index(min(filled))
        filled[fold_of[group]] += sizes[group]
    return [fold_of[g] for g in groups]


class ResplitStore(Store):
    """A store whose samples are split anew; nothing is copied on disk.

    Args:
        path: the store.
        how: the new splits.
        file: to name in messages.
        modalities: modalities to read, as for `Store`.

    Raises:
        DataError: samples have no such grouping.
        UsageError: there are too few groups.
    """

    def __init__(self, path: Path, how: Resplit, file: Path | str, modalities: Mapping[str, str] | Sequence[str] | None = None) -> None:
        super().__init__(path, modalities)
        self._pool = Store(path, modalities)
        groups = [g for split in SPLITS for g in self._groups(split, how.group_by, file)]
        self._rows_of = how.rows(groups, [i for split in SPLITS for i in self._pool.ids(split)])
        sizes = [self._pool.size(s) for s in SPLITS]
        self._spans = dict(zip(SPLITS, zip(np.cumsum([0, *sizes]), np.cumsum(sizes), strict=False), strict=True))
        test = f"fold {how.fold} of {how.folds} by {how.group_by}" if how.folds else f"{how.group_by} {', '.join(how.test_groups or ())}"
        self.notes = [n for n in self.notes if "are not independent" not in n]  # the notes spoke of the file's own splits
        self.description = f"test on {test}"

    def features(self, split: str) -> dict[str, npt.NDArray[np.float32]]:
        """Return the features (N, T, d) by modality, in memory."""
        return self.read(split, np.arange(self.size(split)))

    def read(
        self, split: str, rows: npt.NDArray[np.integer[Any]] | list[int], modalities: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the features (B, T, d) of some rows by modality (all or some modalities), in memory."""
        pooled = self._rows_of[split][np.asarray(rows)]
        out = {m: np.empty((len(pooled), *self._shapes["train", m][1:]), np.float32) for m in self._of(modalities)}
        for source, (first, stop) in self._spans.items():
            at = np.flatnonzero((pooled >= first) & (pooled < stop))
            if len(at):
                for modality, x in self._pool.read(source, pooled[at] - first, list(out)).items():
                    out[modality][at] = x
        return out

    def load(self, split: str, modalities: Sequence[str] | None = None) -> dict[str, npt.NDArray[np.float32]]:
        """Return all features (N, T, d) by modality (all or some modalities), in memory."""
        return self.read(split, np.arange(self.size(split)), modalities)

    def _groups(self, split: str, by: str, file: Path | str) -> list[str]:
        found = self._pool.groups(split)
        if by in found:
            return found[by]
        ids = self._pool.ids(split)
        if by == VIDEO and all("$_$" in i for i in ids):
            return [i.rsplit("$_$", 1)[0] for i in ids]
        there = ", ".join(found) or "none"
        raise data_error(
            file,
            f"{split}/{'id' if by == VIDEO else by}",
            found=f"ids that name no video, such as {ids[0]!r}; groups: {there}" if by == VIDEO else f"no such groups; there are: {there}",
            expected="ids video$_$clip, or a column of the folder's csv that says what stays together",
            do="name such a column with data.group_by=..., or add one",
        )

    @cached_property
    def _small(self) -> dict[str, Any]:
        pool = self._pool._small
        names = [name.partition("/")[2] for name in pool if name.startswith("train/")]
        small: dict[str, Any] = {}
        for name in names:
            parts = [pool[f"{s}/{name}"] for s in SPLITS]
            for split, rows in self._rows_of.items():
                if isinstance(parts[0], list):
                    together = [x for part in parts for x in part]
                    small[f"{split}/{name}"] = [together[r] for r in rows]
                else:
                    small[f"{split}/{name}"] = np.concatenate(parts)[rows]
        return {**small, **{f"statistics/{m}": x for m, x in self._counted[0].items()}}

    @cached_property
    def _non_finite(self) -> dict[tuple[str, str], tuple[int, int]]:
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[dict[str, npt.NDArray[np.float64]], dict[tuple[str, str], tuple[int, int]]]:
        """Statistics of the new train split and non-finite values of all, in one pass."""
        real = {m: np.concatenate([self._pool.real(s)[m] for s in SPLITS]) for m in self.modalities}
        statistics = {m: FrameStatistics(self.dims[m]) for m in self.modalities}
        counts = {(s, m): [0, 0] for s in SPLITS for m in self.modalities}
        for split, rows in self._rows_of.items():
            for first in range(0, len(rows), CHUNK):
                part = rows[first : first + CHUNK]
                for modality, x in self.read(split, np.arange(first, first + len(part))).items():
                    for i, more in enumerate(count_non_finite(x)):
                        counts[split, modality][i] += more
                    if split == "train":
                        statistics[modality].add(x, real[modality][part])
        return {m: s.result() for m, s in statistics.items()}, {at: (c[0], c[1]) for at, c in counts.items()}
