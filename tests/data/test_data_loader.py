"""The order of samples: fixed by seed and epoch, complete, and continued where it stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import Dataset

from dhmd.batch import FeatureBatch
from dhmd.data.loader import FeatureLoader, RowSampler


class Rows(Dataset[FeatureBatch]):
    """N samples whose one feature is their row."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitems__(self, rows: list[int]) -> FeatureBatch:
        x = torch.tensor(rows)
        return FeatureBatch({"language": x.float()[:, None, None]}, {"language": torch.ones(len(x), 1).bool()}, index=x)


def rows_of(loader: FeatureLoader) -> list[list[int]]:
    return [batch.index.tolist() for batch in loader]


def loader(n: int = 10, batch_size: int = 3, shuffle: bool = True, seed: int = 1, workers: int = 0) -> FeatureLoader:
    return FeatureLoader.over(Rows(n), batch_size, shuffle, seed, workers)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
def test_processes_share_a_split_among_them(n: int, world: int, seed: int, epoch: int) -> None:
    for shuffle in (True, False):
        orders = []
        for rank in range(world):
            sampler = RowSampler(Rows(n), shuffle, seed)
            sampler.num_replicas, sampler.rank = world, rank
            sampler.set_epoch(epoch)
            orders.append(list(sampler))
            assert len(orders[-1]) == len(sampler)
        together = [row for order in orders for row in order]
        assert set(together) == set(range(n))
        if shuffle:
            assert len({len(o) for o in orders}) == 1  # equally many steps
        else:
            assert sorted(together) == list(range(n))  # nothing twice


def test_an_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        made = loader(50, seed=seed)
        made.sampler.set_epoch(epoch)
        torch.rand(epoch + 1)  # the global generator does not matter
        return rows_of(made)

    seen = {(s, e): order(s, e) for s in (1, 2) for e in (0, 1)}
    assert all(seen[at] == order(*at) for at in seen)
    assert len({str(o) for o in seen.values()}) == 4  # also seed 1 epoch 1 and seed 2 epoch 0


def test_iterating_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    rows_of(loader())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_last_batch_may_be_one_and_nothing_is_dropped() -> None:
    assert [len(b) for b in rows_of(loader(10))] == [3, 3, 3, 1]
    assert rows_of(loader(4, shuffle=False)) == [[0, 1, 2], [3]]


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 25), st.integers(0, 3))
@settings(deadline=None)
def test_a_stopped_loader_continues(n: int, batch_size: int, stop: int, epoch: int) -> None:
    whole = loader(n, batch_size)
    whole.sampler.set_epoch(epoch)
    expected = rows_of(whole)
    whole.sampler.set_epoch(epoch + 1)
    following = rows_of(whole)
    first = loader(n, batch_size)
    first.sampler.set_epoch(epoch)
    batches = iter(first)
    done = [next(batches).index.tolist() for _ in range(min(stop, len(expected)))]
    second = loader(n, batch_size)
    second.load_state_dict(first.state_dict())
    assert len(second) == len(expected)
    if len(done) < len(expected):
        assert done + rows_of(second) == expected
        second.sampler.set_epoch(epoch + 1)
    assert rows_of(second) == following


class Notes(LightningModule):
    """Notes the rows of every batch; saves a checkpoint after some of them."""

    def __init__(self, save_after: int = -1, path: Any = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []
        self.save_after, self.path = save_after, path

    def training_step(self, batch: FeatureBatch, index: int) -> Any:
        self.seen.append((self.current_epoch, batch.index.tolist()))
        return (self.weight * batch.features["language"].mean()).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_batch_end(self, outputs: Any, batch: FeatureBatch, index: int) -> None:
        if len(self.seen) == self.global_step == self.save_after:
            self.trainer.save_checkpoint(self.path)


def trainer_of(folder: Any, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(max_epochs=3, accelerator="cpu", default_root_dir=folder, **quiet, **options)


@pytest.mark.parametrize(("workers", "passes"), [(0, 1), (2, 1), (0, 2)])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_stop_in_mid_epoch_resumes_exactly_under_lightning(workers: int, passes: int, share: float, tmp_path: Any) -> None:
    each = 4 * passes  # batches of an epoch
    stop = each + int(share * each)  # in the middle of the second; with two passes at 0.5, between them

    def fit(path: Any = None) -> Notes:
        module = Notes(stop, tmp_path / "stop.ckpt")
        made = FeatureLoader.over(Rows(10), 3, True, 1, workers, passes)
        trainer_of(tmp_path).fit(module, made, ckpt_path=path, weights_only=True if path else None)
        return module

    whole = fit()
    resumed = fit(tmp_path / "stop.ckpt")
    assert [e for e, _ in whole.seen] == [epoch for epoch in range(3) for _ in range(each)]
    for first in range(0, len(whole.seen), 4):
        assert sorted(row for _, rows in whole.seen[first : first + 4] for row in rows) == list(range(10))
    assert resumed.seen == whole.seen[stop:]


@pytest.mark.parametrize("passes", [1, 2])
def test_lightning_keeps_the_sampler_and_sets_its_epoch(passes: int, tmp_path: Any) -> None:
    made = FeatureLoader.over(Rows(10), 3, True, 1, 0, passes, smallest=2)
    sampler, batches = made.sampler, made.batch_sampler
    trainer, module = trainer_of(tmp_path), Notes()
    trainer.fit(module, made)
    assert trainer.train_dataloader is made
    assert made.sampler is sampler
    assert made.batch_sampler is batches
    assert sampler.epoch == 2
    for epoch in range(3):
        alone = FeatureLoader.over(Rows(10), 3, True, 1, 0, passes, smallest=2)
        alone.sampler.set_epoch(epoch)
        assert [rows for e, rows in module.seen if e == epoch] == rows_of(alone)


@pytest.mark.parametrize(("passes", "batches"), [(1, 1), (1, 2), (2, 2)])
def test_overfit_batches_are_the_same_in_every_epoch(passes: int, batches: int, tmp_path: Any) -> None:
    trainer, module = trainer_of(tmp_path, overfit_batches=batches), Notes()
    trainer.fit(module, FeatureLoader.over(Rows(10), 3, True, 1, 0, passes))
    assert [rows for _, rows in module.seen] == [[0, 1, 2], [3, 4, 5]][:batches] * 3


def test_rows_are_plain_integers() -> None:
    assert all(type(row) is int for row in RowSampler(Rows(3), True, 0))
    assert np.array(list(RowSampler(Rows(3), False, 0))).tolist() == [0, 1, 2]


@given(st.integers(2, 20), st.integers(2, 5), st.integers(1, 3), st.integers(0, 40), st.integers(1, 3))
@settings(deadline=None)
def test_several_passes_have_orders_of_their_own_and_continue(n: int, batch_size: int, passes: int, stop: int, smallest: int) -> None:
    def made() -> FeatureLoader:
        return FeatureLoader.over(Rows(n), batch_size, True, 1, 0, passes, smallest)

    smallest = min(smallest, batch_size)
    whole = made()
    expected = rows_of(whole)
    each = len(expected) // passes
    assert len(whole) == len(expected) == passes * each
    for k in range(passes):
        assert sorted(r for batch in expected[k * each : (k + 1) * each] for r in batch) == list(range(n))
    assert all(len(batch) >= min(smallest, n, batch_size) for batch in expected)
    batches = iter(first := made())
    done = [next(batches).index.tolist() for _ in range(min(stop, len(expected)))]
    second = made()
    second.load_state_dict(first.state_dict())
    if len(done) < len(expected):
        assert done + rows_of(second) == expected


def test_the_first_pass_is_the_order_of_a_single_one_and_the_others_differ() -> None:
    one, two = rows_of(loader(20, 4)), rows_of(FeatureLoader.over(Rows(20), 4, True, 1, 0, passes=2))
    assert two[:5] == one
    assert two[5:] != one


@pytest.mark.parametrize(
    ("n", "smallest", "sizes"), [(10, 1, [3, 3, 3, 1]), (10, 2, [3, 3, 4]), (11, 2, [3, 3, 3, 2]), (2, 3, [2]), (9, 3, [3] * 3)]
)
def test_a_small_remainder_joins_the_batch_before(n: int, smallest: int, sizes: list[int]) -> None:
    made = FeatureLoader.over(Rows(n), 3, False, 1, 0, smallest=smallest)
    assert [len(batch) for batch in rows_of(made)] == sizes
    assert len(made) == len(sizes)
