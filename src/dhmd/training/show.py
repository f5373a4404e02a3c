"""Tables of runs and evaluations for the terminal: every number with its convention, synthetic data labelled as such."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dhmd.evaluation.metrics import LABELS, NOT_A_SHARE
from dhmd.runs.folder import RunFolder
from dhmd.runs.identity import digest
from dhmd.runs.reader import Run, model_name, read_run
from dhmd.training.evaluate import Evaluation


def print_run(path: Path, console: Console | None = None) -> None:
    """Print the record of a run.

    Raises:
        RunError: the folder holds no finished run.
    """
    console = console or _console()
    run = read_run(path, tested=False)
    metrics = run.metrics
    chosen = metrics["selection"]["epoch"]
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(run).items():
        facts.add_row(name, value)
    console.print(facts)
    validation = next(row for row in metrics["validation"] if row["epoch"] == chosen)
    model = model_name(metrics["model"], metrics.get("ablation"))
    title = f"{model} on {metrics['data']}{_synthetic(metrics['synthetic'])}, seed {metrics['seed']}"
    columns = {f"validation, epoch {chosen}": validation, **({"test": run.test} if run.test else {})}
    console.print(_metrics_table(title, columns, _convention(metrics["task"], metrics["convention"])))
    if not run.test:
        console.print("not tested: trained with evaluate_test=false")
    figures = sorted(RunFolder(path).figures.glob("*.png"))
    if figures:
        console.print(f"figures: {RunFolder(path).figures} ({', '.join(figure.stem for figure in figures)})", soft_wrap=True)
    console.print(f"run folder: {path}", soft_wrap=True)


def print_evaluation(evaluation: Evaluation, split: str, console: Console | None = None) -> None:
    """Print the metrics of one evaluated split."""
    console = console or _console()
    title = f"{len(evaluation.predictions.ids)} samples{_synthetic(evaluation.synthetic)}"
    console.print(_metrics_table(title, {split: evaluation.metrics}, _convention(evaluation.task, evaluation.convention)))


def _facts(run: Run) -> dict[str, str]:
    metrics = run.metrics
    text = metrics.get("text_encoder")
    return {
        "configuration": f"{digest(run.config)[:12]} (config.yaml without seed, paths and machine)",
        "model": metrics["model"],
        "ablation": metrics.get("ablation") or "none",
        "data": _data(run),
        "samples": _samples(run),
        "text": str(text),
        "trained parameters": f"{metrics['parameters']:,}",
        "epochs": f"{len(metrics['validation'])}, best {metrics['selection']['epoch']} by validation loss",
        "time": f"{metrics['seconds']['fit']:.0f} s of training",
    }


def _metrics_table(title: str, columns: Mapping[str, Mapping[str, float]], convention: str) -> Table:
    table = Table(title=f"{title}\n{convention}accuracies and F1 in percent", title_justify="left")
    table.add_column("metric")
    for name in columns:
        table.add_column(name, justify="right")
    names = [name for name in list(columns.values())[-1] if name != "epoch"]
    for name in names:
        table.add_row(LABELS.get(name, name), *(_number(name, values[name]) for values in columns.values()))
    return table


def _number(name: str, value: float) -> str:
    return f"{value:.4f}" if name in NOT_A_SHARE else f"{100 * value:.2f}"


def _convention(task: str, convention: str) -> str:
    """Return the beginning of a sentence about the convention; classification has the same metrics everywhere."""
    return f"{convention} convention; " if task == "regression" else ""


def _data(run: Run) -> str:
    path = run.description.get("path") or (run.config.get("data") or {}).get("path")
    return f"{run.metrics['data']}{_synthetic(run.metrics['synthetic'])}, {path or 'generated'}"


def _samples(run: Run) -> str:
    counts = run.description.get("samples") or {}
    return ", ".join(f"{counts[split]} {split}" for split in ("train", "valid", "test") if split in counts) or "not recorded"


def _synthetic(synthetic: bool) -> str:
    return " (synthetic data)" if synthetic else ""


def _console() -> Console:
    return Console(highlight=False)
