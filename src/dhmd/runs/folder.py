"""The run folder: the one place where files of a run are named and written. Every file is whole or absent; DONE comes last."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import yaml

from dhmd.errors import RunError, UsageError
from dhmd.files import atomic_path, in_use, locked, write_text
from dhmd.runs.environment import environment
from dhmd.runs.upgrade import without_removed

if TYPE_CHECKING:
    from dhmd.training.inference import Array, Predictions

SCHEMA = 1
FREE_TO_CHANGE = (
    *("resume", "run_dir", "trainer", "logger", "callbacks", "labels"),
    *("data.num_workers", "data.in_memory", "data.path", "data.cache_dir"),
)
"""What may differ when a run is resumed: how it is computed and watched, not what is learned."""
LEARNED = ("seed", "convention", "data", "text_encoder", "model", "objective", "optimisation", "trainer")
"""The parts of a configuration that have a say in what is learned."""
NOT_FREE = ("trainer.precision", "trainer.limit_train_batches", "trainer.overfit_batches")
"""Of these, what does change what is learned."""
BEFORE = {"evaluate_test": True}
"""What configurations recorded before there was such a key meant."""


class RunFolder:
    """A run's folder.

    Args:
        path: the folder; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.json"
        self.checkpoints = path / "checkpoints"
        self.done_file = path / "DONE"
        self.failed_file = path / "FAILED"
        self.imported_file = path / "imported.json"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.done_file.exists()

    @property
    def started(self) -> bool:
        """Whether a run ever began here."""
        return self.config_file.exists()

    def config(self) -> dict[str, Any]:
        """The run's configuration, plain.

        Raises:
            RunError: this is not a run folder, or its configuration cannot be read.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such folder; expected the folder of a run, as `dhmd train` prints it at its end")
        if not self.started:
            inside = sorted(p.name for p in self.path.iterdir())[:5]
            raise RunError(f"{self.path}: not a run folder; expected config.yaml in it, found {', '.join(inside) or 'nothing'}")
        try:
            config = yaml.safe_load(self.config_file.read_text())
        except yaml.YAMLError as error:
            raise RunError(f"{self.config_file}: not readable as YAML: {error}") from error
        if not isinstance(config, dict):
            raise RunError(f"{self.config_file}: expected a mapping, found {type(config).__name__}")
        return without_removed(config)

    @contextmanager
    def claimed(self, config: Mapping[str, Any], resume: bool) -> Iterator[None]:
        """Hold the folder for one process.

        Raises:
            UsageError: a run is already there and ``resume`` is off, or another process is at it.
            RunError: ``resume`` is on and the recorded configuration differs in what is learned.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot make the run folder ({error.strerror}); choose another hydra.run.dir") from error
        with locked(self.path / ".lock"):
            if self.imported_file.exists():
                raise UsageError(f"{self.path}: holds an imported checkpoint: no training to continue; choose another hydra.run.dir")
            if self.started and not resume:
                raise UsageError(
                    f"{self.path}: a run is already there{' and finished' if self.finished else ''}; "
                    "add resume=true to continue it, or choose another hydra.run.dir"
                )
            if self.started:
                _check_same(self.config(), config, self.path)
            self.failed_file.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.vanish()

    def vanish(self) -> None:
        """Leave nothing of a run that was refused before it began; do nothing if it began."""
        if self.started or not self.path.is_dir():
            return
        for name in ("train.log", "wandb_id", ".lock"):
            (self.path / name).unlink(missing_ok=True)
        here = Path.cwd()
        for folder in (self.path, *self.path.parents):  # Hydra made them; what holds anything else stays
            if folder != self.path and here not in folder.parents:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def begin(self, config: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write what is known before training. A command that is refused before this leaves no run.

        Raises:
            RunError: the run is resumed with other data.
        """
        data_file = self.path / "data.json"
        if self.started:
            try:
                before = json.loads(data_file.read_text())["source"]
            except (OSError, ValueError, KeyError) as error:
                raise RunError(f"{data_file}: damaged or missing: {error}; start anew in another hydra.run.dir") from error
            if before["sha256"] != data["source"]["sha256"]:
                raise RunError(
                    f"{self.path}: the run was started with {before['name']} (SHA-256 {before['sha256']}), "
                    f"found {data['source']['name']} ({data['source']['sha256']}); give the same file, or another hydra.run.dir"
                )
        found, command = environment()
        write_text(self.path / "environment.json", _json(found))
        with (self.path / "command.txt").open("a") as file:  # a resumed run has several commands
            file.write(command + "\n")
        write_text(data_file, _json(data))
        if not self.started:
            write_text(self.config_file, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv: one row an epoch; numbers in full precision."""
        if rows:
            table = [{k: int(v) if k == "epoch" else v for k, v in row.items()} for row in rows]
            write_text(self.path / "history.csv", _csv(list(table[0]), table))

    def write_predictions(self, splits: Mapping[str, Predictions]) -> None:
        """Write predictions.csv: a row a sample; one column a head, or one a class and head where there are classes."""
        rows: list[dict[str, Any]] = []
        for split, found in splits.items():
            heads = found.heads
            columns = {name: values[:, k] for head, values in heads.items() for k, name in enumerate(_names(head, values.shape[1]))}
            for i, sample in enumerate(found.ids):
                rows.append({"split": split, "id": sample, "label": found.label[i], **{c: v[i] for c, v in columns.items()}})
        write_text(self.path / "predictions.csv", _csv(list(rows[0]), rows))

    def write_arrays(
        self,
        test: Predictions,
        edges: Mapping[str, Sequence[Sequence[float]]] = MappingProxyType({}),
        by_class: Mapping[str, Array] = MappingProxyType({}),
    ) -> None:
        """Write record.h5: edges over training, edges, activations and embeddings of the test split, and arrays by name (``by_class``)."""
        with atomic_path(self.path / "record.h5") as part, h5py.File(part, "w") as file:
            file["test/id"] = np.array(test.ids, dtype=h5py.string_dtype())
            file["test/label"] = test.label
            file["test/prediction"] = test.prediction
            for space, found in test.edges.items():
                file[f"edges/{space}/pairs"] = np.array(found.pairs, dtype=h5py.string_dtype())
                if found.prior is not None:
                    file[f"edges/{space}/prior"] = found.prior
                if found.weights is not None:
                    file[f"edges/{space}/test"] = found.weights
                    file[f"edges/{space}/validation"] = np.asarray(edges[space], dtype=np.float64)
            for kind, spaces in (("activations", test.activations), ("embeddings", test.embeddings)):
                for space, modalities in spaces.items():
                    for modality, values in modalities.items():
                        file[f"{kind}/{space}/{modality}"] = values
            for name, values in by_class.items():
                file[name] = values

    def write_metrics(self, content: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        write_text(self.metrics_file, _json({"schema": SCHEMA, **content}))

    def fail(self, message: str) -> None:
        """Leave what went wrong, for the table of a sweep; the next attempt takes it away. Finished and others' runs are left alone."""
        if not in_use(self.path) and not self.finished:
            write_text(self.failed_file, message.rstrip() + "\n")

    def finish(self) -> None:
        """Write DONE: from now on the record is complete."""
        write_text(self.done_file, "")


def _names(head: str, width: int) -> list[str]:
    return [head] if width == 1 else [f"{head}_{k}" for k in range(width)]


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: str(v) if isinstance(v, np.generic) else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping):
        return {k: v for key, value in node.items() for k, v in _flat(value, f"{path}.{key}".lstrip(".")).items()}
    return {path: node}


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is learned differently under two configurations: "key (recorded ..., now ...)"."""
    before, after = ({**BEFORE, **_flat(config)} for config in (recorded, now))
    return [
        f"{key} (recorded {before.get(key, 'absent')!r}, now {after.get(key, 'absent')!r})"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
        and (key in NOT_FREE or not any(key == free or key.startswith(f"{free}.") for free in FREE_TO_CHANGE))
    ]


def _check_same(recorded: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    differing = differences(recorded, now)
    if differing:
        raise RunError(
            f"{path}: the run there was started with another configuration and cannot be resumed with this one: "
            f"{'; '.join(differing[:5])}{' ...' if len(differing) > 5 else ''}. Give the recorded values, or another hydra.run.dir"
        )
