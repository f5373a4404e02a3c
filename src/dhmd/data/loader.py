"""The order of samples, and a data loader that resumes at any batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler

from dhmd.batch import FeatureBatch


class RowSampler(DistributedSampler[FeatureBatch]):
    """Sampler of the rows of a split for this process, in file order or in an order determined by seed and epoch.

    With W processes, process r takes every W-th row from the r-th on. A shuffled order is filled up from its start, so that all
    processes take equally many steps; an unshuffled one is not, so that no sample counts twice in a metric. It is a DistributedSampler
    so that Lightning leaves it in place.

    Args:
        dataset: data set of the split.
        shuffle: whether to shuffle.
        seed: seed that, with the epoch, determines the order.

    Attributes:
        skip: number of samples of this process to skip at the start of the current pass.
        part: number of the current pass over the split in the epoch, from 0.
    """

    def __init__(self, dataset: Dataset[FeatureBatch], shuffle: bool, seed: int) -> None:
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        world, rank = (torch.distributed.get_world_size(), torch.distributed.get_rank()) if running else (1, 0)
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=seed)
        self.total = len(dataset)  # type: ignore[arg-type]  # Dataset declares no length, ours has one
        self.skip = self.part = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch and with it the order; samples to be skipped concerned the previous epoch and are forgotten."""
        if epoch != self.epoch:
            self.skip = self.part = 0
        super().set_epoch(epoch)

    def order(self) -> list[int]:
        """Return this process's rows in the current epoch, with none skipped."""
        if not self.shuffle:
            return list(range(self.rank, self.total, self.num_replicas))
        words = [self.seed, self.epoch, *([self.part] if self.part else [])]
        rows = np.random.default_rng(words).permutation(self.total)
        filled = np.resize(rows, -(-self.total // self.num_replicas) * self.num_replicas)
        return [int(r) for r in filled[self.rank :: self.num_replicas]]

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # torch types a sampler by what its data set holds
        """Return an iterator over the rows that are left in this epoch."""
        return iter(self.order()[self.skip :])

    def __len__(self) -> int:
        """Return the number of rows of this process in a whole epoch."""
        rest = self.total + self.num_replicas - 1 if self.shuffle else self.total + self.num_replicas - 1 - self.rank
        return rest // self.num_replicas


class RowBatches(BatchSampler):
    """Sampler of batches of rows; a last batch that would be too small is merged with the one before it.

    Args:
        sampler: sampler of the rows.
        batch_size: rows of a batch.
        drop_last: always False; present because a `BatchSampler` has it.
        smallest: minimum number of rows of a batch, if the split has as many.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool = False, smallest: int = 1) -> None:
        super().__init__(sampler, batch_size, False)
        self.smallest = smallest

    def __iter__(self) -> Iterator[list[int]]:
        """Return an iterator over the batches."""
        rows = list(self.sampler)
        starts = list(range(0, len(rows), self.batch_size))
        if len(starts) > 1 and len(rows) - starts[-1] < self.smallest:
            del starts[-1]
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            yield rows[start:stop]

    def __len__(self) -> int:
        """Return the number of batches of a whole pass."""
        whole, rest = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]  # ours have a length
        return whole + (rest >= self.smallest or (rest > 0 and whole == 0))


def as_is(batch: Any) -> Any:
    """Return the batch unchanged: the data set returns whole batches, so there is nothing to collate."""
    return batch


class FeatureLoader(DataLoader[FeatureBatch]):
    """A DataLoader whose state is the epoch and the number of batches served, so that training can stop at any batch.

    Args:
        dataset: data set of a split; its ``__getitems__`` makes a batch.
        passes: number of passes over the split in an epoch, each in a different order.
        **options: options of the DataLoader, including a `RowBatches`.
    """

    _handed_out = 0

    def __init__(self, dataset: Dataset[FeatureBatch], passes: int = 1, **options: Any) -> None:
        self.passes = passes
        super().__init__(dataset, **options)

    @classmethod
    def over(
        cls, dataset: Dataset[FeatureBatch], batch_size: int, shuffle: bool, seed: int, workers: int, passes: int = 1, smallest: int = 1
    ) -> FeatureLoader:
        """Return the loader of one split.

        Args:
            dataset: data set of the split; its ``__getitems__`` makes a batch.
            batch_size: samples a batch; the last batch may be smaller.
            shuffle: whether to draw the order from seed and epoch; False for file order.
            seed: seed of the order.
            workers: worker processes; 0 reads in this process.
            passes: passes over the split in an epoch.
            smallest: minimum number of samples of a batch; a smaller remainder is merged with the batch before it.
        """
        return cls(
            dataset,
            passes=passes,
            batch_sampler=RowBatches(RowSampler(dataset, shuffle, seed), batch_size, smallest=smallest),
            num_workers=workers,
            collate_fn=as_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            # its own generator: otherwise every epoch would draw from torch's global one, on which dropout depends
            generator=torch.Generator().manual_seed(seed),
        )

    @property
    def sampler(self) -> Any:
        """The sampler of rows, which Lightning reads; torch's own sampler beside a batch sampler is unused."""
        return self.batch_sampler.sampler  # type: ignore[union-attr]  # ours, or the one that Lightning makes in its place

    @sampler.setter
    def sampler(self, unread: Any) -> None:
        """Ignore the sampler that torch sets."""

    def __iter__(self) -> Iterator[FeatureBatch]:  # type: ignore[override]
        """Yield the batches left in the epoch, counting them."""
        rows = self._rows()
        if rows is None:
            for _ in range(self.passes):
                yield from super().__iter__()
            return
        first, skipped = rows.part, rows.skip // self._batch_size
        self._handed_out = first * super().__len__() + skipped
        for part in range(first, self.passes):
            rows.part = part
            for batch in super().__iter__():
                self._handed_out += 1
                yield batch
            rows.skip = 0
        rows.part = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self.passes * super().__len__()

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of batches served in it."""
        rows = self._rows()
        return {"epoch": rows.epoch if rows else 0, "batches": self._handed_out}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches already served; after a whole epoch, continue with the next."""
        rows = self._rows()
        if rows is None:
            return
        whole = state["batches"] >= len(self)
        rows.set_epoch(state["epoch"] + whole)
        rows.part, batches = (0, 0) if whole else divmod(state["batches"], super().__len__())
        rows.skip = batches * self._batch_size

    @property
    def _batch_size(self) -> int:
        return int(self.batch_sampler.batch_size)  # type: ignore[union-attr]  # ours, or the one that Lightning makes in its place

    def _rows(self) -> RowSampler | None:
        # Lightning replaces the sampler by a plain one for overfit_batches
        return self.sampler if isinstance(self.sampler, RowSampler) else None
