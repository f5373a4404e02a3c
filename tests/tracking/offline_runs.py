"""W&B's offline runs read back: the records of a .wandb file, which is a log in LevelDB's format behind a header of seven bytes."""

import json
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
HEADER = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file):
    """The records of a .wandb file, in order."""
    content = Path(file).read_bytes()
    assert content[:4] == b":W&B", f"{file}: not a W&B log"
    at, whole = HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # no header fits into the rest of a block
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        piece = content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        whole = piece if kind in (FULL, FIRST) else whole + piece
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record


@dataclass
class OfflineRun:
    """Content of one .wandb file."""

    run: object = None
    config: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    exit_code: int | None = None

    def column(self, name):
        return [row[name] for row in self.history if name in row]


def read_offline(file):
    """Content of the file once its run has ended; W&B's service writes the last records a moment after `wandb.finish`."""
    for _ in range(100):
        found = _read(file)
        if found.exit_code is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{file}: no end of the run after ten seconds")


def _read(file):
    found = OfflineRun()
    for record in records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            found.history.append({key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            found.summary |= {key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def key(item):
    return item.key or "/".join(item.nested_key)


def offline_files(run_dir):
    return sorted((Path(run_dir) / "wandb").glob("offline-run-*/run-*.wandb"))
