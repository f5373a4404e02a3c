"""How runs beside each other share torch's threads."""

import pytest
import torch

from dhmd.training import rendezvous


@pytest.mark.parametrize(
    ("all_threads", "runs", "of_one", "at_once"), [(1, 3, 1, 1), (2, 3, 1, 2), (4, 3, 1, 4), (4, 2, 2, 2), (5, 2, 2, 2), (8, 1, 8, 1)]
)
def test_each_run_has_its_part(all_threads, runs, of_one, at_once, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: all_threads)
    shared = rendezvous._Threads(runs)
    assert (shared.all, shared.of_one) == (all_threads, of_one)
    assert [shared.free.acquire(blocking=False) for _ in range(at_once + 1)] == [True] * at_once + [False]
