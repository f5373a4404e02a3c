"""The data module: what a run trains, selects and tests on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule

from dhmd.batch import FeatureSpec, Task
from dhmd.data.catalog import identify, published_files, which_file
from dhmd.data.checks import constant_modalities, refuse_non_finite, task_labels, unpublished, zeroed_values
from dhmd.data.convert import open_or_convert
from dhmd.data.dataset import FeatureDataset, Scaling
from dhmd.data.demo import synthetic_store
from dhmd.data.loader import FeatureLoader
from dhmd.data.problem import problem
from dhmd.data.store import Store
from dhmd.data.synthetic import SyntheticOptions
from dhmd.data.tokens import Tokenizer, Tokens, tokens_of_splits
from dhmd.errors import DataError, UsageError

log = logging.getLogger(__name__)


class FeatureDataModule(LightningDataModule):
    """Feature batches of the three splits; ``prepare_data()`` and ``setup()`` make it ready, repeatedly without harm.

    Args:
        name: of the data set, for records.
        path: feature pickle or store; None for a synthetic corpus.
        synthetic: options of the embedded corpus (``dhmd.data.synthetic.SyntheticOptions``); None to read ``path``.
        modalities: which key of a split holds which modality, in modality order; None for language=text, vision=vision, acoustic=audio.
        expects: name of the published file meant (``dhmd.data.catalog``); another file is read too, with a warning.
        aligned: what the file must be; None to take it from the data.
        cache_dir: folder for the store; None for beside the file or, where that cannot be written, the user's cache.
        batch_size: samples a batch; the last batch may have one.
        seed: with the epoch, fixes the order of train.
        num_workers: reading processes; 0 is fastest for stores on a local disk.
        in_memory: whether to hold all features in memory.
        task: regression (regression_labels), binary or multiclass (classification_labels).
        label_range: lowest and highest regression label allowed.
        standardise: whether to bring each feature to mean 0 and deviation 1 over the real frames of train; padding stays 0.
        non_finite: ``error`` refuses NaN and infinite features, ``zero`` puts 0 in the network's input, counts and logs.
        tokens: ``auto`` (text_bert, else raw_text through the tokenizer), ``text_bert`` or ``raw_text``.
        tokenizer: texts -> (N, 3, T) ids, mask, segments.
        tokens_required: whether a batch without tokens is of no use.

    Attributes:
        spec: what a network must know, after setup.

    Raises:
        UsageError: an option is none of those allowed.
    """

    spec: FeatureSpec

    def __init__(
        self,
        name: str = "custom",
        path: Path | str | None = None,
        synthetic: Mapping[str, Any] | None = None,
        modalities: Mapping[str, str] | None = None,
        expects: str | None = None,
        aligned: bool | None = None,
        cache_dir: Path | str | None = None,
        batch_size: int = 16,
        seed: int = 0,
        num_workers: int = 0,
        in_memory: bool = False,
        task: Task = "regression",
        label_range: Sequence[float] = (-3.0, 3.0),
        standardise: bool = False,
        non_finite: str = "error",
        tokens: str = "auto",
        tokenizer: Tokenizer | None = None,
        tokens_required: bool = False,
    ) -> None:
        super().__init__()
        for option, value, allowed in (
            ("task", task, ("regression", "binary", "multiclass")),
            ("non_finite", non_finite, ("error", "zero")),
            ("tokens", tokens, ("auto", "text_bert", "raw_text")),
            ("expects", expects, (None, *published_files())),
        ):
            if value not in allowed:
                raise UsageError(f"data.{option}: found {value!r}, expected one of {', '.join(map(str, allowed))}")
        if batch_size < 1 or num_workers < 0 or len(label_range) != 2:
            raise UsageError(f"data: batch_size={batch_size}, num_workers={num_workers}, label_range={list(label_range)}: out of range")
        self.name, self.path, self.expects, self.aligned, self.cache_dir = name, path, expects, aligned, cache_dir
        self.modalities = dict(modalities) if modalities else None
        self.synthetic_options = _options(synthetic, task)
        self.batch_size, self.seed, self.num_workers, self.in_memory = batch_size, seed, num_workers, in_memory
        self.task, self.label_range = task, (float(label_range[0]), float(label_range[1]))
        self.standardise, self.non_finite = standardise, non_finite
        self.tokens_from, self.tokenizer, self.tokens_required = tokens, tokenizer, tokens_required
        self.warnings: list[str] = []
        self._store: Store | None = None
        self._scaling: dict[str, Scaling] | None = None
        self._scaling_loaded = False
        self._labels: dict[str, torch.Tensor] = {}
        self._tokens: dict[str, Tokens] | None = None
        self._datasets: dict[str, FeatureDataset] = {}

    # --- getting ready -------------------------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Convert the file where needed.

        Raises:
            UsageError: no file is named.
            DataError: the file is not what it should be.
        """
        self._locate()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and check it against the options.

        Raises:
            DataError: labels, alignment, non-finite values or tokens are not as the options want them.
        """
        if self._store is not None:
            return
        store = Store(self._locate())
        file = self.path or store.path  # the one that the user knows
        self._labels, n_classes = task_labels(store, file, self.task, self.label_range)
        lengths = store.lengths
        aligned = len(set(lengths.values())) == 1
        if self.aligned is not None and aligned != self.aligned:
            kind = {True: "aligned", False: "unaligned"}
            raise problem(
                file,
                "",
                found=f"{kind[aligned]} modalities, frames {lengths}",
                expected=f"{kind[self.aligned]} ones, as data.aligned={str(self.aligned).lower()} says",
                do=f"give the {kind[self.aligned]} file, or choose the data config of this one (data=..._{kind[aligned]})",
            )
        if self.non_finite == "error":
            refuse_non_finite(store, file)
        self.warnings = [*store.notes, *zeroed_values(store), *constant_modalities(store), *unpublished(store, self.expects)]
        for warning in self.warnings:
            log.warning("%s: %s", self.name, warning)
        if self.standardise and not self._scaling_loaded:
            self._scaling = {m: Scaling.of(store.statistics(m)) for m in store.modalities}
        self._check_scaling(store.dims)
        self._store = store
        self.spec = FeatureSpec(dims=store.dims, lengths=lengths, task=self.task, n_classes=n_classes, aligned=aligned)
        self.use_tokenizer(self.tokenizer, self.tokens_required)

    def use_tokenizer(self, tokenizer: Tokenizer | None, required: bool = True) -> None:
        """Take tokens from ``text_bert`` or, where that is absent or not wanted, from the texts through ``tokenizer``.

        May be called before or after setup: a text encoder, which brings the tokenizer, is often made from this module's spec.

        Raises:
            DataError: tokens are required and cannot be had (only after setup).
        """
        self.tokenizer, self.tokens_required = tokenizer, required
        if self._store is None:
            return
        self._tokens, self._datasets = tokens_of_splits(self._store, self.tokens_from, tokenizer), {}
        if required and self._tokens is None:
            has_text = self._store.raw_text("train") is not None
            raise problem(
                self.path or self._store.path,
                "train/text_bert",
                found="no token ids" + (" (there is raw_text, but no tokenizer)" if has_text else ", and no raw_text either"),
                expected="text_bert (N, 3, T), or raw_text and a text encoder with a tokenizer",
                do="add text_bert or raw_text to the file, or use the given language features with text_encoder=features",
            )

    def _locate(self) -> Path:
        if self.synthetic_options is not None:
            return synthetic_store(self.synthetic_options, self.cache_dir)
        if self.path is None:
            raise UsageError(which_file(str(self.name), self.expects))
        return open_or_convert(self.path, self.cache_dir, self.modalities, self.label_range if self.task == "regression" else None)

    # --- what is there -------------------------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The open store.

        Raises:
            RuntimeError: before setup.
        """
        if self._store is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._store

    @property
    def synthetic(self) -> bool:
        """Whether the data was generated; everything printed from it must say so."""
        return self.store.synthetic

    def ids(self, split: str) -> list[str]:
        """Names of the samples of a split, in file order."""
        return self.store.ids(split)

    def texts(self, split: str) -> list[str] | None:
        """Texts of the samples, None where the file has none."""
        return self.store.raw_text(split)

    def labels(self, split: str) -> torch.Tensor:
        """(N,) labels as the task has them, in file order."""
        return self._labels[split]

    def description(self) -> dict[str, Any]:
        """What the data is, in plain values that JSON can hold."""
        store = self.store
        published = identify(store.source_sha256)
        return {
            "name": self.name,
            "synthetic": store.synthetic,
            "path": None if self.path is None else str(self.path),
            "store": str(store.path),
            "source": {"name": store.source_name, "size": store.source_size, "sha256": store.source_sha256},
            "published_as": published.name if published else None,
            "samples": {s: store.size(s) for s in store.splits},
            "modalities": {m: {"key": store.keys[m], "dim": self.spec.dims[m], "length": self.spec.lengths[m]} for m in store.modalities},
            "aligned": self.spec.aligned,
            "task": self.task,
            "n_classes": self.spec.n_classes,
            "label_range": list(self.label_range),
            "standardised": self._scaling is not None,
            "non_finite": {
                "policy": self.non_finite,
                "values": {s: {m: v for m, (v, _) in store.non_finite(s).items()} for s in store.splits},
                "frames": {s: {m: f for m, (_, f) in store.non_finite(s).items()} for s in store.splits},
            },
            "tokens": self._tokens is not None,
            "warnings": list(self.warnings),
        }

    # --- batches -------------------------------------------------------------------------------------------------------------------------

    def dataset(self, split: str) -> FeatureDataset:
        """The samples of a split.

        Raises:
            UsageError: there is no such split.
        """
        if split not in self.store.splits:
            raise UsageError(f"split: found {split!r}, expected one of {', '.join(self.store.splits)}")
        if split not in self._datasets:
            tokens = None if self._tokens is None else self._tokens[split]
            self._datasets[split] = FeatureDataset(self.store, split, self._labels[split], tokens, self._scaling, self.in_memory)
        return self._datasets[split]

    def train_dataloader(self) -> FeatureLoader:
        """Batches of train in an order that follows from seed and epoch."""
        return FeatureLoader.over(self.dataset("train"), self.batch_size, True, self.seed, self.num_workers)

    def eval_dataloader(self, split: str) -> FeatureLoader:
        """Batches of any split in file order."""
        return FeatureLoader.over(self.dataset(split), self.batch_size, False, self.seed, self.num_workers)

    def val_dataloader(self) -> FeatureLoader:
        """Batches of valid in file order."""
        return self.eval_dataloader("valid")

    def test_dataloader(self) -> FeatureLoader:
        """Batches of test in file order."""
        return self.eval_dataloader("test")

    def predict_dataloader(self, split: str = "test") -> FeatureLoader:
        """Batches of a split in file order."""
        return self.eval_dataloader(split)

    # --- checkpoints ---------------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The standardisation, so that a checkpoint scales other data as it scaled its training data."""
        scaling = self._scaling or {}
        return {"scaling": {m: {"mean": s.mean, "std": s.std} for m, s in scaling.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the standardisation of a checkpoint instead of one's own; features stay raw if they were raw there.

        Raises:
            DataError: its modalities or widths are not those of this data.
        """
        scaling = {m: Scaling(torch.as_tensor(s["mean"]), torch.as_tensor(s["std"])) for m, s in state_dict["scaling"].items()}
        self._scaling, self._scaling_loaded, self._datasets = scaling or None, True, {}
        if self._store is not None:
            self._check_scaling(self._store.dims)

    def _check_scaling(self, dims: Mapping[str, int]) -> None:
        if self._scaling is None:
            return
        found = {m: len(s.mean) for m, s in self._scaling.items()}
        if found != dict(dims):
            raise DataError(
                f"{self.path or self.name}: features that do not fit the checkpoint\n  found:      widths {dict(dims)}\n"
                f"  expected:   widths {found}\n  what to do: use the features the checkpoint was trained on"
            )


def _options(synthetic: Mapping[str, Any] | None, task: str) -> SyntheticOptions | None:
    if synthetic is None:
        return None
    return SyntheticOptions.of({"classes": 2 if task == "binary" else 3, **synthetic})
