"""Many seeds at once: K runs at once beside the same runs one after the other."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.cases import CASES, RATE, Step, batch_of, features, preset
from benchmarks.clock import interleaved
from benchmarks.sections import steps
from benchmarks.settings import Settings
from dhmd.app import compose
from dhmd.batch import FeatureBatch
from dhmd.config import instantiate, to_plain
from dhmd.training.build import build_data, build_module
from dhmd.training.optimisation import Optimisation
from dhmd.training.program import Alone, Pair, Program
from dhmd.training.rendezvous import run_together

BATCHES = 4
PASSES = 3  # over these in a call: what threads set up at first is done once a training
STEPS = BATCHES * PASSES
REPLICAS = {"cpu": 4, "cuda": 8}
WANTED = {"cpu": 2, "cuda": 4}
TITLE = "Many seeds at once"
Work = Callable[[Program], None]


def measure(settings: Settings) -> dict[str, Any]:
    """Seconds of a training step of one run, by network and device, one after the other and at once."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    return {"rows": [_measured(name, device, settings) for device in devices for name in PROBLEMS]}


def tables(found: dict[str, Any]) -> str:
    """The rows of `measure`."""
    lines = [
        "| | K | device | a step in turn | a step of all at once | **throughput** | wanted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found["rows"]:
        turn, together = median(row["in turn"]), median(row["together"])
        count, rounds = row["replicas"], zip(row["in turn"], row["together"], strict=True)
        ratio = median(count * one / all_at_once for one, all_at_once in rounds)
        lines.append(
            f"| {row['name']} | {count} | {row['device']} | {turn * 1000:.0f} ms | {together * 1000:.0f} ms for {count} runs "
            f"| **{ratio:.1f}** | {WANTED[row['device']]} |"
        )
    return "\n".join(lines)


def of_the_paper(quick: bool) -> tuple[Pair, list[FeatureBatch]]:
    """DMD at the sizes of aligned CMU-MOSI, on random samples."""
    case = steps.case("aligned", quick)
    return Pair(*preset("dmd", case.lengths, ("model.summary=flatten",))), [batch_of(*features(case, seed=i)) for i in range(BATCHES)]


def of_the_demo(quick: bool) -> tuple[Pair, list[FeatureBatch]]:
    """What `make demo` trains, on its synthetic corpus."""
    config = to_plain(compose(["experiment=demo", "run_dir=none", *(["data.synthetic.n_train=64"] if quick else [])]))
    encoder = instantiate(config["text_encoder"], "text_encoder")
    data = build_data(config, encoder)
    module = build_module(config, encoder, data.spec)
    rows = data.batch_size
    return Pair(module.network, module.objective), [
        data.dataset("train").__getitems__(range(i * rows, (i + 1) * rows)) for i in range(BATCHES)
    ]


PROBLEMS = {f"`model=dmd`, frames {CASES['aligned'].frames}": of_the_paper, "`experiment=demo`": of_the_demo}


def _measured(name: str, device: str, settings: Settings) -> dict[str, Any]:
    count = 2 if settings.quick else REPLICAS[device]
    works = [_work(*PROBLEMS[name](settings.quick), device) for _ in range(count)]
    sides: dict[str, Step] = {"in turn": lambda: [work(Alone()) for work in works], "together": lambda: run_together(works)}
    times = interleaved(sides, settings.slow_repeats)
    of_one = {"in turn": count * STEPS, "together": STEPS}
    return {
        "name": name,
        "device": device,
        "replicas": count,
        **{side: [seconds / of_one[side] for seconds in times[side]] for side in sides},
    }


def _work(pair: Pair, batches: list[FeatureBatch], device: str) -> Work:
    """A run: some training steps, each as `dhmd.training.module` takes it."""
    pair.to(device).train()
    optimizer = Optimisation(lr=RATE).optimizer({"network": [p for p in pair.parameters() if p.requires_grad]})
    there = [batch.to(device) for batch in batches]

    def work(program: Program) -> None:
        for batch in there * PASSES:
            _, terms = program.forward(pair.network, pair.objective, batch)
            program.backward(terms["total"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return work
