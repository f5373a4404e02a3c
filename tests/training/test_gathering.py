"""Processes that train together compute the losses and gradients of one process with the whole batch."""

import csv
import os
import socket
import subprocess
import sys
from dataclasses import fields

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from conformance import SAMPLES, SPLIT, build, make_batch, presets
from dhmd.batch import FeatureBatch
from dhmd.outputs import Outputs
from dhmd.training.distributed import Gathering
from tiny_runs import ANY, DICTIONARIES, TINY

SPACES = ("homogeneous", "heterogeneous")
DETACHED = [f"model.{space}.dictionary.detach=false" for space in SPACES]
WEIGHED = [*DETACHED, "objective.weights.homogeneous_representation=1.0"]
CASES = {preset: (preset,) for preset in presets()} | {
    "everything": ("dhmd", *WEIGHED),
    "infonce": (
        *("dhmd", *WEIGHED, *(f"objective.terms.{space}_matching.loss=infonce" for space in SPACES)),
        "objective.terms.heterogeneous_representation.kind=imitate",
    ),
    "code_kl": ("dhmd", *WEIGHED, *(f"objective.terms.{space}_matching.loss=code_kl" for space in SPACES)),
}
PARTS = (slice(0, 9), slice(9, SAMPLES))


def rows_of(value, rows):
    if isinstance(value, dict):
        return {key: x[rows] for key, x in value.items()}
    return value[rows] if isinstance(value, torch.Tensor) else value


def trained(case, rows):
    """Terms and gradients of some batches on these rows, averaged over processes as DDP does, and the state of the terms in the end."""
    module = build(*CASES[case]).module
    network, objective, gathering = module.network.eval(), module.objective.train(), Gathering()  # without dropout
    stages = [stage.weights for stage in getattr(module.step, "each", ())] or [None]
    steps = []
    for epoch in range(2):
        objective.begin_epoch(epoch)
        for number in range(4):
            whole = make_batch(module.spec, seed=number, first=number % 2 * SPLIT // 2)
            batch = FeatureBatch(**{f.name: rows_of(getattr(whole, f.name), rows) for f in fields(whole)})
            for weights in stages:
                outputs, together = gathering.whole(network(batch), batch)
                terms = objective(outputs, together, weights)
                module.zero_grad()
                terms["total"].backward()
                objective.after_backward(outputs, together, number, weights)
                steps.append(({name: float(x.detach()) for name, x in terms.items()}, averaged_gradients(module)))
    return steps, objective.state_dict()


def averaged_gradients(module):
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    if dist.is_initialized():
        for gradient in found.values():
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return found


def process(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save({case: trained(case, PARTS[rank]) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Steps and states of every case, from each of two processes."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(process, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_losses_and_gradients_of_one(case, two_processes):
    expected_steps, expected_state = trained(case, slice(None))
    for found in two_processes:
        steps, state = found[case]
        for (found_terms, found_gradients), (terms, gradients) in zip(steps, expected_steps, strict=True):
            assert found_terms == pytest.approx(terms, rel=1e-5, abs=1e-6)
            assert found_gradients.keys() == gradients.keys(), "a gradient of zeros is not the same as none: weights decay by the one"
            for name, gradient in gradients.items():
                torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
        assert state.keys() == expected_state.keys()
        for name, x in expected_state.items():
            torch.testing.assert_close(state[name], x, rtol=1e-5, atol=1e-5, equal_nan=True, msg=lambda text, n=name: f"{n}: {text}")


def uneven(rank, port, folder, batches):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    gathering, seen = Gathering(), []
    for n in batches[rank]:
        batch = FeatureBatch.from_arrays(language=torch.ones(n, 2 + rank, 1), label=torch.arange(n).float())
        outputs, whole = gathering.whole(Outputs(prediction=torch.full((n, 1), float(rank))), batch)
        assert whole.masks["language"].sum(dim=1).tolist() == [2 + x for x in outputs.prediction.flatten()]
        seen.append((outputs.prediction.flatten().tolist(), whole.label.tolist()))
    gathering.finish()
    torch.save(seen, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_a_process_with_fewer_validation_batches_takes_part_with_none(tmp_path, free_port):
    mp.spawn(uneven, (free_port, str(tmp_path), ([2, 2, 1], [2])), nprocs=2)
    first, second = torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt")
    assert first == [([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]), ([0.0, 0.0], [0.0, 1.0]), ([0.0], [0.0])]
    assert second == first[:1]


def test_one_process_changes_nothing():
    outputs, batch = Outputs(prediction=torch.zeros(2, 1)), FeatureBatch.from_arrays(language=torch.ones(2, 1, 1))
    gathering = Gathering()
    assert gathering.whole(outputs, batch) == (outputs, batch)
    gathering.finish()


STILL = {
    "dhmd": [*TINY, *DICTIONARIES, "model.dropout={attention:0.0,memory:0.0,embedding:0.0,text:0.0,output:0.0}"],
    "misa": [*ANY, "model.dropout=0.0", "model.attention_dropout=0.0"],
    "self_mm": [*ANY, "model.head_dropout=0.0"],
    "mmim": [*ANY, "model.dropout=0.0"],
}
"""Presets whose terms keep a state or see several passes, and one that does not, without dropout."""


@pytest.mark.slow
@pytest.mark.parametrize("preset", STILL)
def test_a_run_of_two_processes_records_what_one_with_the_same_global_batch_records(preset, corpus, tmp_path):
    options = [f"model={preset}", *STILL[preset], f"data.cache_dir={corpus}", "trainer.max_epochs=3", "data.synthetic.n_valid=9"]
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
