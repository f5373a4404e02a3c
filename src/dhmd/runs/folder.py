"""The run folder: where each of its files lies, and how they are written. Every file is whole or absent; DONE comes last."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dhmd.errors import RunError, UsageError
from dhmd.files import in_use, locked, read_object, write_text
from dhmd.runs.arrays import Array, Record, write_record
from dhmd.runs.identity import changed_on_resuming
from dhmd.runs.upgrade import check_rebuilds, upgraded_config

SCHEMA = 1
AGAIN = "train the run again"
BEST, LAST = "best.ckpt", "last.ckpt"


class RunFolder:
    """A run's folder.

    Args:
        path: the folder; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.data_file = path / "data.json"
        self.environment_file = path / "environment.json"
        self.metrics_file = path / "metrics.json"
        self.history_file = path / "history.csv"
        self.predictions_file = path / "predictions.csv"
        self.record_file = path / "record.h5"
        self.imported_file = path / "imported.json"
        self.best_checkpoint = path / "checkpoints" / BEST
        self.last_checkpoint = path / "checkpoints" / LAST
        self.figures = path / "figures"
        self.log_file = path / "train.log"
        self.done_file = path / "DONE"
        self.failed_file = path / "FAILED"

    @property
    def started(self) -> bool:
        """True if a run has begun here."""
        return self.config_file.exists()

    @property
    def finished(self) -> bool:
        """True if the run has ended."""
        return self.done_file.exists()

    @property
    def imported(self) -> bool:
        """True if a checkpoint was imported here: nothing was trained, and there is no record."""
        return self.imported_file.exists()

    # reading ----------------------------------------------------------------------------------------------------------

    def config(self, *, rebuild: bool = False) -> dict[str, Any]:
        """Return the run's configuration: plain, in today's form, its paths those of the folder where it is now.

        Args:
            rebuild: whether the run is to be built from it, not only read.

        Raises:
            RunError: this is not a run folder, its configuration cannot be read, or its run cannot be rebuilt by this version.
        """
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such folder; expected the folder of a run, as `dhmd train` prints it at its end")
        if not self.started:
            inside = sorted(p.name for p in self.path.iterdir())[:5]
            raise RunError(f"{self.path}: not a run folder; expected config.yaml in it, found {', '.join(inside) or 'nothing'}")
        try:
            recorded = OmegaConf.to_container(OmegaConf.load(self.config_file), resolve=True)
        except (OSError, yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
            raise RunError(f"{self.config_file}: not a resolved configuration ({error}); {AGAIN}") from error
        if not isinstance(recorded, dict):
            raise RunError(f"{self.config_file}: found a {type(recorded).__name__}, expected a mapping; {AGAIN}")
        config = {str(key): value for key, value in recorded.items()}
        if rebuild:
            try:
                check_rebuilds(config)
            except RunError as error:
                raise RunError(f"{self.config_file}: {error}") from error
        return _relocated(upgraded_config(config), self.path)

    def metrics(self) -> dict[str, Any]:
        """Return the content of metrics.json.

        Raises:
            RunError: it is missing or damaged.
        """
        return read_object(self.metrics_file, AGAIN, AGAIN)

    def description(self) -> dict[str, Any]:
        """Return the content of data.json, what the data was.

        Raises:
            RunError: it is missing or damaged.
        """
        return read_object(self.data_file, AGAIN, AGAIN)

    def environment(self) -> dict[str, Any]:
        """Return the content of environment.json; empty where there is none.

        Raises:
            RunError: it is damaged.
        """
        return read_object(self.environment_file, AGAIN, AGAIN) if self.environment_file.exists() else {}

    # claiming ---------------------------------------------------------------------------------------------------------

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
            if self.imported:
                raise UsageError(f"{self.path}: holds an imported checkpoint: no training to continue; choose another hydra.run.dir")
            if self.started and not resume:
                raise UsageError(
                    f"{self.path}: a run is already there{' and finished' if self.finished else ''}; "
                    "add resume=true to continue it, or choose another hydra.run.dir"
                )
            if self.started:
                self._check_same(config)
            self.failed_file.unlink(missing_ok=True)
            try:
                yield
            finally:
                self.vanish()

    def vanish(self) -> None:
        """Leave nothing of a run that was refused before it began; do nothing if it began."""
        if self.started or not self.path.is_dir():
            return
        for file in (self.log_file, self.path / "wandb_id", self.path / ".lock"):
            file.unlink(missing_ok=True)
        here = Path.cwd()
        for folder in (self.path, *self.path.parents):  # Hydra made them; what holds anything else stays
            if folder != self.path and here not in folder.parents:
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def _check_same(self, now: Mapping[str, Any]) -> None:
        if changed := changed_on_resuming(self.config(rebuild=True), now):
            raise RunError(
                f"{self.path}: the run there was started with another configuration and cannot be resumed with this one: "
                f"{'; '.join(changed[:5])}{' ...' if len(changed) > 5 else ''}. Give the recorded values, or another hydra.run.dir"
            )

    # writing ----------------------------------------------------------------------------------------------------------

    def begin(self, config: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write what is known before training. A command that is refused before this leaves no run.

        Raises:
            RunError: the run is resumed with other data.
        """
        from dhmd.runs.environment import environment  # which imports torch; who only reads runs does not need it

        if self.started:
            try:
                before = json.loads(self.data_file.read_text())["source"]
            except (OSError, ValueError, KeyError) as error:
                raise RunError(f"{self.data_file}: damaged or missing: {error}; start anew in another hydra.run.dir") from error
            if before["sha256"] != data["source"]["sha256"]:
                raise RunError(
                    f"{self.path}: the run was started with {before['name']} (SHA-256 {before['sha256']}), "
                    f"found {data['source']['name']} ({data['source']['sha256']}); give the same file, or another hydra.run.dir"
                )
        found, command = environment()
        write_text(self.environment_file, _json(found))
        with (self.path / "command.txt").open("a") as file:  # a resumed run has several commands
            file.write(command + "\n")
        write_text(self.data_file, _json(data))
        if not self.started:
            write_text(self.config_file, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv: one row an epoch; numbers in full precision, and an empty cell where an epoch has no such column."""
        if rows:
            table = [{k: int(v) if k == "epoch" else v for k, v in row.items()} for row in rows]
            columns = dict.fromkeys(column for row in table for column in row)
            write_text(self.history_file, _csv(list(columns), table))

    def write_predictions(self, splits: Mapping[str, Mapping[str, Sequence[str] | Array]]) -> None:
        """Write predictions.csv: a row a sample; one column a head, or one a class and head where there are classes.

        Args:
            splits: by name, the columns: ``id`` (N), ``label`` (N,), and (N, out_dim) by head.
        """
        rows: list[dict[str, Any]] = []
        for split, found in splits.items():
            columns = {name: values for key, column in found.items() for name, values in _columns(key, column)}
            rows += [{"split": split, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]
        write_text(self.predictions_file, _csv(list(rows[0]), rows))

    def write_arrays(self, record: Record, by_name: Mapping[str, Array] = MappingProxyType({})) -> None:
        """Write record.h5 (`dhmd.runs.arrays.write_record`)."""
        write_record(self.record_file, record, by_name)

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


def _relocated(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a configuration whose paths below the recorded run folder lie below the folder where it is now."""
    recorded, now = str(config.get("run_dir") or ""), str(folder.absolute())
    if not recorded or recorded == now:
        return config
    inside = Path(recorded).parts not in ((), ("/",))  # "." and the root are before too much else

    def moved(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: moved(value) for key, value in node.items()}
        if isinstance(node, list):
            return [moved(value) for value in node]
        below = isinstance(node, str) and (node == recorded or node.startswith(f"{recorded.rstrip('/')}/"))
        return now + node[len(recorded.rstrip("/")) :] if below else node

    return {**(moved(config) if inside else config), "run_dir": now}


def _columns(key: str, values: Sequence[str] | Array) -> Iterator[tuple[str, Sequence[Any] | Array]]:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        for k in range(values.shape[1]):
            yield key if values.shape[1] == 1 else f"{key}_{k}", values[:, k]
    else:
        yield key, values


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
