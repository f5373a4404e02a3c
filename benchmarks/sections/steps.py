"""Training step and evaluation of the plain implementation beside the suite's network, with the same weights on the same batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from benchmarks import cases
from benchmarks.cases import AUTHORS, CASES, ELSEWHERE_GFLOPS, NO_DROPOUT, Case, Step
from benchmarks.clock import gflops, interleaved, matrix_product, operations
from benchmarks.peak import peak_of
from benchmarks.settings import Settings

RATES = {"the authors'": AUTHORS, "0": NO_DROPOUT}
TOLERANCE = 0.3
"""Maximum relative deviation of the plain implementation from the authors' network, on equal machines, for a ratio to be reported."""
KINDS = (("training step", "the authors'"), ("training step", "0"), ("evaluation", "0"))
WANTED = {
    ("aligned", "training step", "the authors'"): 3,
    ("unaligned", "training step", "the authors'"): 6,
    ("aligned", "evaluation", "0"): 2,
    ("unaligned", "evaluation", "0"): 6,
}
"""Target ratios, by case, work and dropout."""
QUICK = {"aligned": {"l": 20, "v": 20, "a": 20}, "unaligned": {"l": 20, "v": 40, "a": 30}}
TITLE = "One step"


def prepared(name: str, side: str, work: str, dropout: str, quick: str = "") -> Step:
    """Return the work of a process of its own, for `benchmarks.peak`."""
    return one(case(name, bool(quick)), side, work, dropout)


def case(name: str, quick: bool) -> Case:
    """Return the case of this name, or its smaller version in the quick form."""
    return replace(CASES[name], lengths=QUICK[name]) if quick else CASES[name]


def one(case: Case, side: str, work: str, dropout: str, device: str = "cpu") -> Step:
    """Return a training step or an evaluation of the plain implementation or of the suite."""
    rates = RATES[dropout]
    system = cases.plain_system(case, rates, device)
    x, label = cases.features(case, device)
    if side == "plain":
        return cases.plain_training(system, x, label) if work == "training step" else cases.evaluation(system, x)
    network, batch = cases.suite_network(system, rates), cases.batch_of(x, label)
    if work == "training step":
        return cases.suite_training(network, cases.authors_objective(network), [batch])
    return cases.evaluation(network, batch)


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds of every call, operations, memory and lower bounds, by case, work and dropout."""
    kinds = KINDS[::2] if settings.quick else KINDS
    return {"rows": [_measured(name, work, dropout, settings) for name in CASES for work, dropout in kinds]}


def tables(found: dict[str, Any]) -> str:
    """Return the rows of `measure` as markdown."""
    head = (
        "| | frames | dropout | plain | suite | **ratio** | wanted | floor | suite / floor | peak memory, plain | suite |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    lines = [head]
    for row in found["rows"]:
        memory = [f"{row['memory'][side]:.2f} GB" if side in row["memory"] else "" for side in ("plain", "suite")]
        times, wanted = ratio(row["seconds"], "suite", row["plausible"]), WANTED.get((row["case"], row["work"], row["dropout"]), "")
        lines.append(
            f"| {row['work']}, {row['case']} | {row['frames']} | {row['dropout']} | {row['plain_s']:.3f} s | {row['suite_s']:.3f} s "
            f"| **{times}** | {wanted} | {row['floor_s']:.3f} s "
            f"| {row['suite_s'] / row['floor_s']:.1f} | {memory[0]} | {memory[1]} |"
        )
    counted = [f"{r['work']}, {r['case']}: {r['gflop']:.1f} ({r['gflop_attention']:.1f})" for r in found["rows"] if r["dropout"] == "0"]
    lines += ["", *(row["plausible"]["sentence"] for row in found["rows"] if row["plausible"])]
    return "\n".join([*lines, f"GFLOP (of these in attention): {'; '.join(counted)}."])


def _measured(name: str, work: str, dropout: str, settings: Settings) -> dict[str, Any]:
    problem = case(name, settings.quick)
    sides = {side: one(problem, side, work, dropout) for side in ("plain", "suite")}
    repeats = settings.slow_repeats if name == "unaligned" else settings.repeats
    times = interleaved({**sides, "matrix": matrix_product()}, repeats)
    rate, counted = gflops(times["matrix"]), operations(sides["plain"])
    # processes take seconds to start: in the quick form one is enough to test them
    separate = sides if not settings.quick else ("suite",) if (name, work) == ("aligned", "training step") else ()
    memory = {side: peak_of(__name__, name, side, work, dropout, *(["quick"] * settings.quick)) for side in separate}
    row: dict[str, Any] = {
        "case": name,
        "work": work,
        "dropout": dropout,
        "frames": problem.frames,
        "plain_s": median(times["plain"]),
        "suite_s": median(times["suite"]),
        "seconds": times,
        "gflop": sum(counted.values()),
        "gflop_attention": counted["aten.bmm"],  # only there has the plain implementation batched products
        "matrix_gflops": rate,
        "floor_s": sum(counted.values()) / rate,
        "memory": {side: found["peak_gb"] for side, found in memory.items()},
        "memory_before": {side: found["before_gb"] for side, found in memory.items()},
    }
    return {**row, "plausible": plausible(problem, work, times) if not settings.quick and dropout == _elsewhere(work) else None}


def _elsewhere(work: str) -> str:
    """Return the dropout at which the authors' network was measured."""
    return "the authors'" if work == "training step" else "0"


def plausible(case: Case, work: str, times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return whether the plain implementation is as slow as the authors' network, and no slower; ``times`` has ``plain`` and ``matrix``."""
    known = case.step_s if work == "training step" else case.evaluation_s
    # by rounds: a shared machine is not equally fast in all of them
    rounds = zip(times["plain"], times["matrix"], strict=True)
    part = median(plain * gflops([matrix]) for plain, matrix in rounds) / (known * ELSEWHERE_GFLOPS)
    good = abs(part - 1) <= TOLERANCE
    claim = "within" if good else "**not** within"
    return {
        "claimed": good,
        "sentence": (
            f"{work.capitalize()}, {case.name}: the plain implementation takes {part:.2f} of what the authors' network would "
            f"({known} s at {ELSEWHERE_GFLOPS:.0f} GFLOP/s, here {gflops(times['matrix']):.0f}), {claim} {TOLERANCE:.0%} of it"
            f"{'' if good else ': its ratio is not claimed'}."
        ),
    }


def ratio(times: Mapping[str, Sequence[float]], side: str, claim: Mapping[str, Any] | None) -> str:
    """Return a side's speed relative to the plain implementation: the median over rounds, with the result of `plausible`."""
    found = f"{median(plain / own for plain, own in zip(times['plain'], times[side], strict=True)):.1f}"
    return found if claim is None or claim["claimed"] else f"{found}, not claimed"
