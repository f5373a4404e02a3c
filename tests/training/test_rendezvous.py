"""Runs that take turns and meet at their steps."""

import copy
import dataclasses
import os
import random
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dhmd.training import meeting, rendezvous
from dhmd.training.program import Alone
from dhmd.training.rendezvous import Ended, beside_others, run_together
from models.presets import batch, build


@pytest.fixture(params=[None, 1, 2, 4], ids=["one program", "one thread", "two threads", "more threads than runs"], autouse=True)
def threads(request, monkeypatch):
    """How many runs are computed at a time, each by itself; None: all as one program, as on a GPU."""
    if request.param is None:
        monkeypatch.setattr(meeting, "BY_THREAD", ())
    else:  # without threads of torch's own, which would want more cores than there are
        monkeypatch.setattr(rendezvous, "_Threads", lambda runs: SimpleNamespace(all=1, of_one=1, free=threading.Semaphore(request.param)))
    return request.param


class Own(torch.nn.Module):
    """A network with dropout of torch's own, which no replica's generator reaches."""

    def __init__(self, network):
        super().__init__()
        self.network, self.drop = network, torch.nn.Dropout(0.5)

    def forward(self, data):
        features = {m: self.drop(x) for m, x in data.features.items()}
        return self.network(dataclasses.replace(data, features=features))


def steps(seed, count, log, fail_at=None, wrapped=None):
    """A little training; what it gives depends on nothing but its seed."""

    def work(program):
        network, objective = build("dmd", seed=seed)
        network = network if wrapped is None else wrapped(network)
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        losses = []
        for step in range(count):
            if step == fail_at:
                raise ValueError(f"no step {step}")
            log.append((seed, step))
            _, terms = program.forward(network, objective, batch(6, seed=10 * seed + step))
            program.backward(terms["total"])
            optimizer.step()
            optimizer.zero_grad()
            losses.append((terms["total"].item(), random.random(), float(np.random.rand()), torch.rand(()).item()))  # noqa: S311
        program.end_of_training()
        log.append((seed, "end"))
        return losses

    return work


def test_each_gets_what_it_would_get_alone(threads):
    log = []
    together = run_together([steps(1, 3, log), steps(2, 5, log), steps(3, 3, log)])
    for seed, found in zip((1, 2, 3), together, strict=True):
        alone = steps(seed, len(found), [])(Alone())
        np.testing.assert_allclose(found, alone, rtol=1e-4 if threads is None else 1e-6)
    if threads is None:
        assert log[:6] == [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)]
    assert sorted(log[-3:]) == [(1, "end"), (2, "end"), (3, "end")]  # after the last step of all


def test_torchs_own_dropout_is_the_same_each_time():
    first, second = (run_together([steps(seed, 2, [], wrapped=Own) for seed in (1, 2, 3)]) for _ in range(2))
    assert first == second
    assert len({x[0] for run in first for x in run}) == 6


def test_ones_failure_is_not_the_others():
    failed, found = run_together([steps(1, 4, [], fail_at=2), steps(2, 4, [])])
    assert isinstance(failed, ValueError)
    assert str(failed) == "no step 2"
    np.testing.assert_allclose(found, steps(2, 4, [])(Alone()), rtol=1e-4)


def test_a_failing_step_fails_all_that_share_it():
    def work(program):
        network, objective = build("dmd")
        broken = batch(6)
        broken.features["language"][:] = float("nan")
        network.homogeneous.forward = None
        with pytest.raises(TypeError, match="NoneType"):
            program.forward(network, objective, broken)
        return "went on"

    assert run_together([work, work]) == ["went on", "went on"]


@pytest.mark.parametrize("threads", [None], indirect=True)
def test_what_cannot_be_one_program_is_done_one_by_one(caplog):
    class Counting(torch.nn.Module):
        def __init__(self, network, limit):
            super().__init__()
            self.network, self.limit = network, limit

        def forward(self, data):
            outputs = self.network(data)
            if outputs.prediction.abs().max().item() > self.limit:  # a number of each one's own, which vmap has not
                raise ValueError("too large")
            return outputs

    def work(limit):
        def go(program):
            network, objective = build("dmd")
            network, found = Counting(network, limit).eval(), []
            found.append(program.forward(network, objective, batch(6))[1]["total"].item())
            return found

        return go

    small, first, second = run_together([work(0.0), work(1e9), work(1e9)])
    assert isinstance(small, ValueError)
    assert first == second
    assert "3 steps could not be one program" in caplog.text


def test_a_loss_without_gradients_is_ones_own_failure():
    def work(weight):
        def go(program):
            network, objective = build("dmd")
            _, terms = program.forward(network, objective, batch(6))
            program.backward(terms["total"] if weight else terms["total"].detach())
            return network.head.out.weight.grad is not None

        return go

    without, found = run_together([work(0), work(1)])
    assert isinstance(without, RuntimeError)
    assert found is True


def test_a_copied_module_is_alone():
    def work(program):
        return type(copy.deepcopy(program)).__name__

    assert run_together([work, work]) == ["Alone", "Alone"]


def test_modes_are_those_of_the_asking_thread():
    def work(program):
        network, objective = build("dmd")
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            outputs, terms = program.forward(network, objective, batch(6))
        cast = outputs.decoupled.shared["language"]
        return beside_others(), cast.requires_grad, cast.dtype, terms["total"].requires_grad

    assert run_together([work, work]) == [(True, False, torch.bfloat16, False)] * 2
    assert not beside_others()


def test_an_interrupt_ends_all_where_they_stand():
    ended = []

    def work(program):
        network, objective = build("dmd")
        try:
            for step in range(1000):
                if step == 3 and threading.current_thread().name.endswith("1"):
                    os.kill(os.getpid(), signal.SIGINT)
                _, terms = program.forward(network, objective, batch(6))
                program.backward(terms["total"])
        except Ended:
            ended.append(threading.current_thread().name)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_together([work, work, work])
    assert sorted(ended) == ["replica 0", "replica 1", "replica 2"]


def test_an_exit_in_a_step_is_not_the_others(threads):
    class Exiting(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, data):
            raise SystemExit(3)

    works = [steps(1, 2, [], wrapped=Exiting), steps(2, 2, [])]
    if threads is None:  # where one program is computed for all, it ends all
        with pytest.raises(SystemExit):
            run_together(works)
        return
    failed, found = run_together(works)
    assert isinstance(failed, SystemExit)
    np.testing.assert_allclose(found, steps(2, 2, [])(Alone()), rtol=1e-4)


def test_what_fails_between_turns_ends_all(monkeypatch):
    ended = []

    def work(program):
        network, objective = build("dmd")
        try:
            for _ in range(1000):
                program.backward(program.forward(network, objective, batch(6))[1]["total"])
        except Ended:
            with pytest.raises(Ended):  # a second question finds no answer either
                program.forward(network, objective, batch(6))
            ended.append(threading.current_thread().name)
            raise

    turn, left = rendezvous._Run.turn, iter(range(9))

    def failing(run):
        if next(left) == 8:
            raise MemoryError("no more")
        turn(run)

    monkeypatch.setattr(rendezvous._Run, "turn", failing)
    with pytest.raises(MemoryError):
        run_together([work, work, work])
    assert sorted(ended) == ["replica 0", "replica 1", "replica 2"]


def test_a_run_that_cannot_ask_has_failed(monkeypatch):
    class Broken:
        @classmethod
        def now(cls):
            if threading.current_thread().name == "replica 0":
                raise MemoryError("no more")
            return meeting.Randomness.now()

    monkeypatch.setattr(rendezvous, "Randomness", Broken)
    failed, found = run_together([steps(1, 2, []), steps(2, 2, [])])
    assert isinstance(failed, MemoryError)
    np.testing.assert_allclose(found, steps(2, 2, [])(Alone()), rtol=1e-4)


@pytest.mark.parametrize("behind", [(0,), (1,)])
def test_runs_out_of_step_are_not_mixed(behind):
    """One validates before it trains: the others' forward passes then come with its backward passes."""

    def work(number):
        def go(program):
            network, objective = build("dmd", seed=number)
            if number in behind:
                with torch.no_grad():
                    program.forward(network.eval(), objective, batch(6))
            network.train()
            found = []
            torch.manual_seed(number)
            for step in range(3):
                _, terms = program.forward(network, objective, batch(6, seed=step))
                program.backward(terms["total"])
                found.append(terms["total"].item())
            return found

        return go

    together = run_together([work(0), work(1)])
    np.testing.assert_allclose(together, [work(number)(Alone()) for number in (0, 1)], rtol=1e-4)


def test_what_a_function_draws_is_the_same_each_time():
    """``torch.nn.functional.dropout`` draws from the process's generator, and no module says so."""

    class Functional(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.dropout(x, 0.5, self.training)

    class Drawing(Own):
        def __init__(self, network):
            super().__init__(network)
            self.drop = Functional()

    first, second = (run_together([steps(seed, 3, [], wrapped=Drawing) for seed in (1, 2, 3)]) for _ in range(2))
    assert first == second
    assert len({x[0] for run in first for x in run}) == 9


def test_dropout_that_never_drops_keeps_nobody_together():
    request = []

    def work(program):
        network, objective = build("dmd")
        wrapped = Own(network)
        wrapped.train()
        wrapped.drop.eval()  # as that of a frozen text encoder
        program.forward(wrapped, objective, batch(6))
        request.append(program._pair)

    run_together([work, work])
    assert [pair.draws.get(True, False) for pair in request] == [False, False]
