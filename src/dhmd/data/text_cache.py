"""Cache of a frozen text encoder's hidden states: computed once for a data set, kept in an HDF5 file, and read from there.

The file lies beside the store (or in the cache folder) as ``<name>.text-<key>.h5``. Its one array ``states`` (R, H) float32 holds the
hidden states of all distinct texts, one text after another; their order follows from the token ids, so that folds agree. The key is a
digest of the encoder's weights and configuration and of all token ids that the tokenizer gave for the source; the key and a checksum of
the states are compared whenever the file is opened.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from dhmd.data.convert import cache_folder
from dhmd.data.progress import progress
from dhmd.data.store.raw_file import RawFile
from dhmd.data.store.writer import VERSION, PatientFile
from dhmd.data.tokens import Tokens
from dhmd.errors import DataError
from dhmd.files import alone, atomic_path

log = logging.getLogger(__name__)
FORMAT = "dhmd-text-states-1"
BATCH = 64  # texts encoded at once
BLOCK = 4096  # rows read at once

States = npt.NDArray[np.float32]


class Encoder(Protocol):
    """Interface of a frozen text encoder."""

    def digest(self) -> str:
        """Return a digest of weights and configuration, which determine the hidden states."""

    def encode(self, tokens: Tokens) -> States:
        """Return hidden states (B, T, H) of ids, mask, segments (B, 3, T)."""


@dataclass(frozen=True)
class Texts:
    """Distinct texts of a data set in an order that does not depend on its splits, short ones first.

    Attributes:
        tokens: (n, 3, T) ids, mask, segments.
        lengths: (n,) positions whose states are kept: up to the last token, or all T.
        rows: number of each sample's text (N,), by split.
    """

    tokens: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]
    rows: Mapping[str, npt.NDArray[np.int64]]

    @classmethod
    def of(cls, tokens: Mapping[str, Tokens], padding: bool) -> Texts:
        """Return the texts of tokens (N, 3, T) by split; with ``padding``, states of padding are kept, too."""
        together = np.concatenate(list(tokens.values())).astype("<i4")
        length = together.shape[2]
        flat, inverse = np.unique(together.reshape(len(together), -1), axis=0, return_inverse=True)
        distinct = flat.reshape(-1, 3, length)
        used = (length - (distinct[:, 1, ::-1] > 0).argmax(axis=1)) * (distinct[:, 1] > 0).any(axis=1)
        lengths = np.full(len(distinct), length) if padding else np.maximum(used, 1)
        order = np.argsort(lengths, kind="stable")
        place = np.argsort(order)[inverse.reshape(-1)]
        ends = np.cumsum([len(t) for t in tokens.values()])
        return cls(distinct[order], lengths[order], dict(zip(tokens, np.split(place, ends[:-1]), strict=True)))

    def key(self, encoder: str) -> str:
        """Return a digest of the encoder and of the tokens it reads."""
        digest = hashlib.sha256(f"{encoder} {self.tokens.shape}".encode())
        for array in (self.tokens, self.lengths.astype("<i8")):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class StatesFile:
    """Reader of the hidden states of texts from a checked file.

    Attributes:
        file: the file of the states.
        offset: offset of the array's first byte.
        shape: (R, H).
        held: the array, if it is held in memory.
    """

    file: RawFile
    offset: int
    shape: tuple[int, int]
    held: States | None

    def fill(self, out: States, first: int) -> None:
        """Read the rows from ``first`` on into ``out`` (r, H).

        Raises:
            DataError: the file ends too early.
        """
        if self.held is not None:
            out[:] = self.held[first : first + len(out)]
        elif not self.file.fill(out, self.offset + first * self.shape[1] * 4):
            raise DataError(f"{self.file.path}: it ends before row {first + len(out)}; delete this file, it is made again")


@dataclass(frozen=True)
class TextStates:
    """Hidden states of the texts of one split.

    Attributes:
        file: the file of the states.
        rows: (N,) number of each sample's text.
        starts: (n + 1,) first row of each text's states in the file.
        mask: (N, T) True at the tokens of a sample.
    """

    file: StatesFile
    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]

    def read(self, samples: npt.NDArray[np.integer[Any]]) -> States:
        """Return the states (B, T, H) of some samples; 0 behind the kept positions of a text."""
        out = np.zeros((len(samples), self.mask.shape[1], self.file.shape[1]), np.float32)
        for x, row in zip(out, self.rows[samples], strict=True):
            first, end = int(self.starts[row]), int(self.starts[row + 1])
            self.file.fill(x[: end - first], first)
        return out


def text_states(tokens: Mapping[str, Tokens], encoder: Encoder, padding: bool, store: Path, in_memory: bool) -> dict[str, TextStates]:
    """Find or make the hidden states of all texts.

    If several processes need the same states, one computes them and the others wait for its file.

    Args:
        tokens: token ids, mask and segments (N, 3, T) by split.
        encoder: the frozen text encoder.
        padding: whether the network reads the states of padding.
        store: the features' store, beside which the file lies.
        in_memory: whether to hold the states in memory.

    Raises:
        DataError: no folder for the file can be written.
    """
    texts = Texts.of(tokens, padding)
    key = texts.key(encoder.digest())
    name = f"{store.name.removesuffix('.dhmd.h5')}.text-{key[:16]}.h5"
    file = _found_or_made([store.parent / name, cache_folder() / name], key, texts, encoder, in_memory)
    starts = np.concatenate([[0], np.cumsum(texts.lengths)])
    return {s: TextStates(file, rows, starts, texts.tokens[rows, 1] > 0) for s, rows in texts.rows.items()}


def _found_or_made(places: Sequence[Path], key: str, texts: Texts, encoder: Encoder, in_memory: bool) -> StatesFile:
    if found := _usable(places, key, texts, in_memory):
        return found
    failures = []
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with alone(place.with_suffix(".lock")):
                if found := _usable([place], key, texts, in_memory):  # another process made it meanwhile
                    return found
                _write(place, key, texts, encoder)
        except OSError as error:
            failures.append(f"{place}: {error}")
            continue
        log.info("encoded %d texts: %s", len(texts.tokens), place)
        return _open(place, key, texts, in_memory)
    raise DataError(
        "the hidden states of the frozen text encoder cannot be written\n  found:      " + "; ".join(failures) + "\n"
        "  expected:   a folder that can be written, with room for them\n"
        "  what to do: free some space, or name a folder with data.cache_dir=... or the environment variable DHMD_CACHE"
    )


def _usable(places: Sequence[Path], key: str, texts: Texts, in_memory: bool) -> StatesFile | None:
    for place in places:
        if place.is_file():
            try:
                return _open(place, key, texts, in_memory)
            except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # a foreign file may lack anything
                log.warning("%s: not what was written there (%s); the texts are encoded again", place, str(error)[:200])
    return None


def _open(path: Path, key: str, texts: Texts, in_memory: bool) -> StatesFile:
    """Check a file, and read it if it is to be held in memory.

    Raises:
        OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError: the file is damaged or holds something else.
    """
    with h5py.File(path, "r") as file:
        states = file["states"]
        said = {name: bytes(file.attrs[name]).decode() for name in ("format", "key", "sha256")}
        rows, width = states.shape
        offset = states.id.get_offset()
        if (said["format"], said["key"], rows) != (FORMAT, key, int(texts.lengths.sum())):
            raise ValueError("of other texts or another encoder")
        if states.dtype != "<f4" or offset is None or states.nbytes > path.stat().st_size:  # checked before memory is reserved for it
            raise ValueError("its array is not whole")
        held = np.empty((rows, width), np.float32) if in_memory else None
        digest = _digest(rows, width)
        for first in range(0, rows, BLOCK):
            block = states[first : first + BLOCK]
            digest.update(block.data)
            if held is not None:
                held[first : first + len(block)] = block
        if digest.hexdigest() != said["sha256"]:
            raise ValueError("its bytes have changed")
    return StatesFile(RawFile(path), offset, (rows, width), held)


def _write(path: Path, key: str, texts: Texts, encoder: Encoder) -> None:
    """Encode all texts, short ones first so that little padding is computed, and write the file atomically.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    rows, n = int(texts.lengths.sum()), len(texts.tokens)
    with progress("encoding", n, "texts") as advance, atomic_path(path) as part, PatientFile(part) as disk:
        with h5py.File(disk, "w", libver=(VERSION, VERSION)) as file:
            log.info("encoding %d texts, once for all epochs", n)
            at = 0
            for start in range(0, n, BATCH):
                lengths = texts.lengths[start : start + BATCH]
                states = encoder.encode(texts.tokens[start : start + BATCH, :, : lengths.max()])
                kept = np.concatenate([x[:length] for x, length in zip(states, lengths, strict=True)])
                if not at:
                    file.create_dataset("states", (rows, kept.shape[1]), "<f4")
                    digest = _digest(rows, kept.shape[1])
                file["states"][at : at + len(kept)] = kept
                digest.update(np.ascontiguousarray(kept, "<f4").data)
                at += len(kept)
                disk.check()
                advance(len(states))
            said = {"format": FORMAT, "key": key, "sha256": digest.hexdigest()}
            file.attrs.update({name: np.bytes_(value) for name, value in said.items()})
        disk.check()


def _digest(rows: int, width: int) -> Any:
    """Return a checksum of states and of their shape."""
    return hashlib.sha256(f"{rows} {width}\n".encode())
