"""The torchmetrics classes: the pure function over everything seen, in one process or two."""

import copy
import json
import os
import pickle
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dhmd.evaluation.metrics import classification_metrics, regression_metrics
from dhmd.evaluation.torchmetrics import ClassificationMetrics, RegressionMetrics, gathered_metrics


def samples(n=37):
    generator = torch.Generator().manual_seed(0)
    label = (torch.randn(n, generator=generator) * 5).round() / 3
    return label[:, None] + torch.randn(n, 1, generator=generator), label


@pytest.mark.parametrize("convention", ["mosi", "sims"])
def test_compute_is_the_pure_function_of_all_batches(convention):
    prediction, label = samples()
    metrics = RegressionMetrics(convention)
    for p, y in zip(prediction.split(16), label.split(16), strict=True):
        metrics.update(p, y)
    assert metrics.compute() == regression_metrics(prediction, label, convention)


@pytest.mark.parametrize("n_classes", [1, 4])
def test_classes_too(n_classes):
    prediction = torch.randn(20, n_classes, generator=torch.Generator().manual_seed(1))
    label = torch.arange(20) % max(n_classes, 2)
    metrics = ClassificationMetrics()
    for p, y in zip(prediction.split(7), label.split(7), strict=True):
        metrics.update(p, y)
    assert metrics.compute() == classification_metrics(prediction, label)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_forgets_and_nothing_is_refused():
    metrics = RegressionMetrics()
    metrics.update(*samples())
    metrics.reset()
    with pytest.raises(ValueError, match="no prediction"):
        metrics.compute()
    metrics.update(torch.tensor([[1.0]]), torch.tensor([1.0]))
    assert metrics.compute() == regression_metrics([1.0], [1.0])


def test_copies_and_pickles():
    metrics = RegressionMetrics("sims")
    metrics.update(*samples())
    for twin in (copy.deepcopy(metrics), pickle.loads(pickle.dumps(metrics))):  # noqa: S301
        assert twin.compute() == metrics.compute()


def test_the_task_chooses_the_class():
    assert isinstance(gathered_metrics("regression", "sims"), RegressionMetrics)
    assert isinstance(gathered_metrics("binary"), ClassificationMetrics)
    assert isinstance(gathered_metrics("multiclass"), ClassificationMetrics)


def _process(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.set_num_threads(1)
    prediction, label = samples()
    share = slice(0, 20) if rank == 0 else slice(20, None)  # unequal shares
    metrics = RegressionMetrics()
    metrics.update(prediction[share], label[share])
    (folder / f"{rank}.json").write_text(json.dumps(metrics.compute()))
    dist.destroy_process_group()


@pytest.mark.slow  # two fresh interpreters import torch
def test_two_processes_equal_one(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(_process, args=(port, tmp_path), nprocs=2)
    expected = regression_metrics(*samples())
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == pytest.approx(expected, abs=1e-12)
