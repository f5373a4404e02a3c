"""Processes that train together compute the losses and gradients of one process with the whole batch."""

import csv
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.models import DecoupledDistillation
from dhmd.outputs import Outputs
from dhmd.training.distributed import Gathering
from objectives import objective_of
from tiny_runs import DICTIONARIES, TINY

LENGTHS = {"language": 6, "vision": 9, "acoustic": 8}
SPEC = FeatureSpec(dims={"language": 5, "vision": 4, "acoustic": 3}, lengths=LENGTHS, aligned=False)
CASES = {
    "preset": [],
    "authors": ["terms.orthogonality.axis=batch", "terms.heterogeneous_representation.kind=repel_mean"],
    "infonce": [
        "terms.homogeneous_matching.loss=infonce",
        "terms.heterogeneous_matching.loss=infonce",
        "terms.heterogeneous_representation.kind=imitate",
    ],
    "code_kl": ["terms.homogeneous_matching.loss=code_kl", "terms.heterogeneous_matching.loss=code_kl"],
}


def network():
    torch.manual_seed(1)
    space = {"distillation": {"width": 4}, "dictionary": {"entries": 8, "detach": False}}
    sizes = {"width": 8, "heads": 2, "layers": 1, "kernels": 3}
    return DecoupledDistillation(SPEC, **sizes, summary="pool", decoupling={}, homogeneous=space, heterogeneous=space).double()


def objective(options, net):
    changes = [f"objective.{option}" for option in options]
    weights = dict.fromkeys(objective_of(SPEC).weights, 1.0)
    return objective_of(SPEC, *changes, network=net, weights=weights).double()


def samples(rows):
    """Some of seven samples of unequal lengths."""
    rng = np.random.default_rng(0)
    features = {m: rng.normal(size=(7, t, SPEC.dims[m])) for m, t in LENGTHS.items()}
    real = {m: np.arange(t) < rng.integers(t // 2, t + 1, 7)[:, None] for m, t in LENGTHS.items()}
    batch = FeatureBatch.from_arrays(**{m: np.where(real[m][..., None], x, 0)[rows] for m, x in features.items()})
    masks = {m: torch.from_numpy(r[rows]) for m, r in real.items()}
    doubles = {m: torch.from_numpy(np.where(real[m][..., None], x, 0)[rows]) for m, x in features.items()}
    label = torch.tensor([-3.0, -1.2, 0.0, 0.4, 2.0, 2.6, -0.6], dtype=torch.float64)[rows]
    return replace(batch, features=doubles, masks=masks, label=label)


def gradients(case, rows):
    """Terms and gradients on these rows, averaged over processes as DDP does."""
    net = network()
    terms_of = objective(CASES[case], net)
    batch = samples(rows)
    terms = terms_of(*Gathering().whole(net(batch), batch))
    terms["total"].backward()
    found = {n: p.grad.clone() for m in (net, terms_of) for n, p in m.named_parameters() if p.grad is not None}
    if dist.is_initialized():
        for gradient in found.values():
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return {k: float(v.detach()) for k, v in terms.items()}, found


def process(rank, port, folder, case, parts):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save(gradients(case, parts[rank]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_losses_and_gradients_of_one(case, tmp_path, free_port):
    parts = (slice(0, 4), slice(4, 7))
    mp.spawn(process, (free_port, str(tmp_path), case, parts), nprocs=2)
    terms, expected = gradients(case, slice(0, 7))
    for rank in (0, 1):
        found_terms, found = torch.load(tmp_path / f"{rank}.pt")
        assert found_terms == pytest.approx(terms, rel=1e-5, abs=1e-6)
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def counted(n, frames, first):
    """A batch of n samples of so many frames, numbered from ``first`` on, with tokens."""
    index = first + torch.arange(n)
    features = {"language": torch.ones(n, frames, 2) * index[:, None, None]}
    masks = {"language": torch.ones(n, frames, dtype=torch.bool)}
    return FeatureBatch(features, masks, label=torch.arange(n).float(), tokens=torch.zeros(n, 3, 4, dtype=torch.long), index=index)


def uneven(rank, port, folder, batches):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    gathering, seen = Gathering(), []
    for n in batches[rank]:
        outputs, batch = gathering.whole(Outputs(prediction=torch.full((n, 1), float(rank))), counted(n, 2 + rank, 10 * rank))
        masks = batch.masks["language"]
        assert batch.tokens is None
        assert torch.equal(batch.features["language"], (batch.index[:, None, None] * masks[..., None]).expand(-1, -1, 2).float())
        seen.append((outputs.prediction.flatten().tolist(), batch.labels.tolist(), batch.index.tolist(), masks.sum(dim=1).tolist()))
    gathering.finish()
    torch.save(seen, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_process_with_fewer_validation_batches_takes_part_with_none(tmp_path, free_port):
    mp.spawn(uneven, (free_port, str(tmp_path), ([2, 2, 1], [2])), nprocs=2)
    first, second = torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt")
    assert first == [
        ([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0, 1, 10, 11], [2, 2, 3, 3]),
        ([0.0, 0.0], [0.0, 1.0], [0, 1], [2, 2]),
        ([0.0], [0.0], [0], [2]),
    ]
    assert second == first[:1]


def test_one_process_changes_nothing():
    outputs, batch = Outputs(prediction=torch.zeros(2, 1)), counted(2, 3, 0)
    gathering = Gathering()
    found = gathering.whole(outputs, batch)
    assert found[0] is outputs
    assert found[1] is batch
    gathering.finish()


@pytest.mark.slow
def test_a_run_of_two_processes_records_what_one_with_the_same_global_batch_records(corpus, tmp_path):
    still = [
        "model.dropout={attention:0.0,memory:0.0,embedding:0.0,text:0.0,output:0.0}",
        "trainer.max_epochs=2",
        "data.synthetic.n_valid=9",
    ]
    options = [*TINY, *DICTIONARIES, f"data.cache_dir={corpus}", *still]
    runs = {
        "two": ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=4"],
        "one": ["data.batch_size=8"],
    }
    tables = {}
    for name, own in runs.items():
        command = [sys.executable, "-m", "dhmd.cli", "train", *options, *own, f"hydra.run.dir={name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr
        for file in ("history.csv", "predictions.csv"):
            with (tmp_path / name / file).open() as lines:
                tables[name, file] = list(csv.DictReader(lines))
    for file in ("history.csv", "predictions.csv"):
        one, two = tables["one", file], tables["two", file]
        assert len(one) == len(two)
        for expected, found in zip(one, two, strict=True):
            assert set(expected) == set(found)
            for column, value in expected.items():
                if column in ("id", "split"):
                    assert found[column] == value
                else:
                    assert float(found[column]) == pytest.approx(float(value), rel=1e-3, abs=1e-4), (file, column)
