"""The order of samples, and a loader that continues where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from dhmd.batch import FeatureBatch


class RowSampler(DistributedSampler[FeatureBatch]):
    """Rows of a split for this process: in file order, or in an order that follows from seed and epoch alone.

    With W processes, process r takes every W-th row from the r-th on. A shuffled order is filled up from its start, so that all
    processes take equally many steps; an unshuffled one is not, so that no sample counts twice in a metric. It is a DistributedSampler
    so that Lightning leaves it in place.

    Args:
        dataset: of the split.
        shuffle: whether to shuffle.
        seed: with the epoch, fixes the order.
        skip: samples of this process to leave out at the start of the current epoch.
    """

    def __init__(self, dataset: Dataset[FeatureBatch], shuffle: bool, seed: int) -> None:
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        world, rank = (torch.distributed.get_world_size(), torch.distributed.get_rank()) if running else (1, 0)
        super().__init__(dataset, num_replicas=world, rank=rank, shuffle=shuffle, seed=seed)
        self.total = len(dataset)  # type: ignore[arg-type]  # Dataset declares no length, ours has one
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; what was to be skipped concerned another epoch only."""
        if epoch != self.epoch:
            self.skip = 0
        super().set_epoch(epoch)

    def order(self) -> list[int]:
        """This process's rows in the current epoch, none skipped."""
        if not self.shuffle:
            return list(range(self.rank, self.total, self.num_replicas))
        rows = np.random.default_rng([self.seed, self.epoch]).permutation(self.total)
        filled = np.resize(rows, -(-self.total // self.num_replicas) * self.num_replicas)
        return [int(r) for r in filled[self.rank :: self.num_replicas]]

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # torch types a sampler by what its data set holds
        """Iterate over the rows that are left in this epoch."""
        return iter(self.order()[self.skip :])

    def __len__(self) -> int:
        """Rows of this process in a whole epoch."""
        rest = self.total + self.num_replicas - 1 if self.shuffle else self.total + self.num_replicas - 1 - self.rank
        return rest // self.num_replicas


def as_is(batch: Any) -> Any:
    """Collate nothing: the dataset hands out whole batches."""
    return batch


class FeatureLoader(DataLoader[FeatureBatch]):
    """A DataLoader whose state is the epoch and the number of batches handed out, so that training can stop at any batch."""

    _handed_out = 0

    @classmethod
    def over(cls, dataset: Dataset[FeatureBatch], batch_size: int, shuffle: bool, seed: int, workers: int) -> FeatureLoader:
        """Make the loader of one split.

        Args:
            dataset: of the split; its ``__getitems__`` makes a batch.
            batch_size: samples a batch; the last batch may be smaller.
            shuffle: whether in an order drawn from seed and epoch, or in file order.
            seed: of the order.
            workers: worker processes; 0 reads in this process.
        """
        return cls(
            dataset,
            batch_size=batch_size,
            sampler=RowSampler(dataset, shuffle, seed),
            num_workers=workers,
            collate_fn=as_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            # its own, because otherwise every epoch would draw from torch's global one, on which dropout depends
            generator=torch.Generator().manual_seed(seed),
        )

    def __iter__(self) -> Iterator[FeatureBatch]:  # type: ignore[override]
        """Iterate over the batches left in the epoch, counting them."""
        rows = self._rows()
        self._handed_out = rows.skip // int(self.batch_size or 1) if rows else 0
        for batch in super().__iter__():
            self._handed_out += 1
            yield batch
        if rows:
            rows.skip = 0

    def state_dict(self) -> dict[str, Any]:
        """Epoch and number of batches handed out in it."""
        rows = self._rows()
        return {"epoch": rows.epoch if rows else 0, "batches": self._handed_out}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches handed out; after a whole epoch, with the next."""
        rows = self._rows()
        if rows is None:
            return
        whole = state["batches"] >= len(self)
        rows.set_epoch(state["epoch"] + whole)
        rows.skip = 0 if whole else state["batches"] * int(self.batch_size or 1)

    def _rows(self) -> RowSampler | None:
        # Lightning puts a plain sampler in its place for overfit_batches
        return self.sampler if isinstance(self.sampler, RowSampler) else None
