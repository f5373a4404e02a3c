"""The data module: the data that a run trains, selects and tests on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule

from dhmd.batch import FeatureSpec, Task
from dhmd.data.catalog import which_file
from dhmd.data.checks import (
    check_alignment,
    check_choices,
    constant_modalities,
    refuse_non_finite,
    synthetic_options,
    task_labels,
    unpublished,
    zeroed_values,
)
from dhmd.data.convert import open_or_convert
from dhmd.data.dataset import FeatureDataset
from dhmd.data.description import describe
from dhmd.data.loader import FeatureLoader
from dhmd.data.modalities import check_wanted, keys_in
from dhmd.data.standardisation import Standardisation
from dhmd.data.store.reader import Store
from dhmd.data.store.resplit import VIDEO, Resplit, ResplitStore
from dhmd.data.store.statistics import few_samples
from dhmd.data.synthetic.files import synthetic_store
from dhmd.data.text_cache import Encoder, TextStates, text_states
from dhmd.data.tokens import Tokenizer, Tokens, check_tokens, tokens_of_splits
from dhmd.errors import UsageError

log = logging.getLogger(__name__)


class FeatureDataModule(LightningDataModule):
    """Data module of the three splits as feature batches; ``prepare_data()`` and ``setup()`` can be called repeatedly.

    Args:
        name: name of the data set, for records.
        path: feature pickle, folder of arrays or store; None for a synthetic corpus.
        synthetic: options of the embedded corpus (``dhmd.data.synthetic.generator.SyntheticOptions``); None to read ``path``.
        modalities: modalities to read, in order: a list of names, or a map of names to keys of a split; None for the layout's own.
        expects: name of the expected published file (``dhmd.data.catalog``); another file is read, too, with a warning.
        aligned: required alignment of the file; None to take it from the data.
        cache_dir: folder for the store; None for the file's folder or, if that cannot be written, the user's cache.
        batch_size: samples a batch; the last batch may have one.
        seed: seed that, with the epoch, determines the order of train.
        num_workers: reading processes; 0 is fastest for stores on a local disk.
        in_memory: whether to hold all features in memory.
        task: regression (regression_labels), binary or multiclass (classification_labels).
        label_range: lowest and highest regression label allowed.
        standardise: whether to bring each feature to mean 0 and deviation 1 over the real frames of train; padding stays 0.
        non_finite: ``error`` refuses NaN and infinite features, ``zero`` puts 0 in the network's input, counts and logs.
        tokens: ``auto`` (text_bert, else raw_text through the tokenizer), ``text_bert`` or ``raw_text``.
        layout: layout of the file (``dhmd.data.layouts``); None to recognise it from the content.
        folds: number of folds of a cross-validation over all samples of the file; None for the file's own splits.
        fold: number of the fold that is the test set, from 0.
        group_by: grouping that no fold splits: ``video``, or a column of a folder's csv.
        test_groups: instead of folds, the groups that are the test set (``dhmd.data.store.resplit``).
        tokenizer: function from texts to (N, 3, T) ids, mask, segments.
        tokens_required: whether every batch must have tokens.

    Attributes:
        spec: specification of the data for a network, after setup.
        passes: passes over train in an epoch.
        smallest_batch: minimum number of samples of a training batch.

    Raises:
        UsageError: an option has a value that is not allowed.
    """

    spec: FeatureSpec

    def __init__(
        self,
        name: str = "custom",
        path: Path | str | None = None,
        synthetic: Mapping[str, Any] | None = None,
        modalities: Mapping[str, str] | Sequence[str] | None = None,
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
        layout: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        group_by: str = VIDEO,
        test_groups: Sequence[str] | None = None,
        tokenizer: Tokenizer | None = None,
        tokens_required: bool = False,
    ) -> None:
        super().__init__()
        check_choices(task=task, non_finite=non_finite, tokens=tokens, expects=expects, layout=layout)
        if batch_size < 1 or num_workers < 0 or len(label_range) != 2 or label_range[0] >= label_range[1]:
            raise UsageError(f"data: batch_size={batch_size}, num_workers={num_workers}, label_range={list(label_range)}: out of range")
        self.name, self.path, self.expects, self.aligned, self.cache_dir = name, path, expects, aligned, cache_dir
        self.modalities = check_wanted(modalities)
        self.synthetic_options = synthetic_options(synthetic, task)
        self.layout, self.resplit = layout, Resplit(folds, fold, group_by, test_groups)
        self.batch_size, self.seed, self.num_workers, self.in_memory = batch_size, seed, num_workers, in_memory
        self.task, self.label_range = task, (float(label_range[0]), float(label_range[1]))
        self.standardisation, self.non_finite = Standardisation(standardise), non_finite
        self.tokens_from, self.tokenizer, self.tokens_required = tokens, tokenizer, tokens_required
        self.warnings: list[str] = []
        self.passes, self.smallest_batch = 1, 1
        self._store: Store | None = None
        self._labels: dict[str, torch.Tensor] = {}
        self._tokens: dict[str, Tokens] | None = None
        self._datasets: dict[str, FeatureDataset] = {}
        self._encoder: tuple[Encoder, bool] | None = None
        self._states: dict[str, TextStates] | None = None

    # --- getting ready -------------------------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Convert the file if needed.

        Raises:
            UsageError: no file is named.
            DataError: the file is missing, unreadable or not of the expected layout.
        """
        self._locate()

    def setup(self, stage: str | None = None) -> None:
        """Open the store and check it against the options.

        Raises:
            DataError: labels, alignment, non-finite values or tokens contradict the options.
        """
        if self._store is not None:
            return
        located = self._locate()
        file = self.path or located  # the path that the user knows
        # a converted store has the requested modalities; a given or generated store has all of its own
        wanted = self.modalities if self.path is None or self.synthetic_options or located == Path(self.path).expanduser() else None
        store = ResplitStore(located, self.resplit, file, wanted) if self.resplit.wanted else Store(located, wanted)
        self._labels, n_classes = task_labels(store, file, self.task, self.label_range)
        aligned = check_alignment(store, file, self.aligned)
        if self.non_finite == "error":
            refuse_non_finite(store, file)
        few = few_samples({s: store.size(s) for s in store.splits})
        self.warnings = [*store.notes, *few, *zeroed_values(store), *constant_modalities(store), *unpublished(store, self.expects)]
        for warning in self.warnings:
            log.warning("%s: %s", self.name, warning)
        self.standardisation.fit(store, file)
        self._store = store
        sizes = {split: store.size(split) for split in store.splits}
        self.spec = FeatureSpec(store.dims, store.lengths, self.task, n_classes, aligned, sizes=sizes)
        self.use_tokenizer(self.tokenizer, self.tokens_required)

    def use_tokenizer(self, tokenizer: Tokenizer | None, required: bool = True) -> None:
        """Take tokens from ``text_bert`` or, if that is absent or not wanted, from the texts through ``tokenizer``.

        May be called before or after setup: a text encoder, which brings the tokenizer, is often made from this module's spec.

        Raises:
            DataError: tokens are required and unavailable (only after setup).
        """
        self.tokenizer, self.tokens_required = tokenizer, required
        if self._store is None:
            return
        self._tokens, self._datasets = tokens_of_splits(self._store, self.tokens_from, tokenizer), {}
        self.spec = replace(self.spec, token_length=None if self._tokens is None else int(self._tokens["train"].shape[-1]))
        check_tokens(self._store, self._tokens, required, self.path or self._store.path)

    def encode_once(self, encoder: Encoder, padding: bool) -> None:
        """Serve the hidden states of a frozen text encoder as the language features.

        The states are computed when the first data set is made, on the device where the encoder is by then.

        Args:
            encoder: text encoder whose weights no longer change.
            padding: whether the network reads the states of padding.
        """
        self._encoder, self._states, self._datasets = (encoder, padding), None, {}

    def train_by(self, passes: int, smallest_batch: int) -> None:
        """Set the passes over train in an epoch and the smallest training batch.

        Args:
            passes: passes over the split in an epoch.
            smallest_batch: minimum number of samples of a batch; a smaller remainder is merged with the batch before it.

        Raises:
            UsageError: ``batch_size`` is smaller.
        """
        if min(self.batch_size, self.spec.sizes["train"]) < smallest_batch:
            found = f"data.batch_size={self.batch_size} and {self.spec.sizes['train']} training samples"
            raise UsageError(f"{self.name}: found {found}; the network needs batches of {smallest_batch} samples at least")
        self.passes, self.smallest_batch = passes, smallest_batch

    def _locate(self) -> Path:
        if self.synthetic_options is not None:
            return synthetic_store(self.synthetic_options, self.cache_dir)
        if self.path is None:
            raise UsageError(which_file(str(self.name), self.expects))
        label_range = self.label_range if self.task == "regression" else None
        keys = keys_in(Path(self.path).expanduser(), self.modalities)
        return open_or_convert(self.path, self.cache_dir, keys, label_range, self.layout)

    # --- what is there -------------------------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The open store.

        Raises:
            RuntimeError: `setup` has not been called.
        """
        if self._store is None:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._store

    @property
    def synthetic(self) -> bool:
        """True if the data was generated; everything printed from it must be labelled as synthetic."""
        return self.store.synthetic

    def ids(self, split: str) -> list[str]:
        """Return the ids of the samples of a split, in file order."""
        return self.store.ids(split)

    def texts(self, split: str) -> list[str] | None:
        """Return the texts of the samples; None if the file has none."""
        return self.store.raw_text(split)

    @property
    def has_tokens(self) -> bool:
        """True if batches carry tokens."""
        return self._tokens is not None

    def tokens(self, split: str) -> Tokens | None:
        """Return the token ids, mask and segments (N, 3, T) of a split; None without tokens."""
        return None if self._tokens is None else self._tokens[split]

    def labels(self, split: str) -> torch.Tensor:
        """Return the labels (N,) in the form the task needs, in file order."""
        return self._labels[split]

    def description(self) -> dict[str, Any]:
        """Return the description of the data (`dhmd.data.description.describe`)."""
        return describe(self)

    # --- batches -------------------------------------------------------------------------------------------------------------------------

    def dataset(self, split: str) -> FeatureDataset:
        """Return the data set of a split.

        Raises:
            UsageError: there is no such split.
        """
        if split not in self.store.splits:
            raise UsageError(f"split: found {split!r}, expected one of {', '.join(self.store.splits)}")
        if split not in self._datasets:
            tokens = None if self._tokens is None else self._tokens[split]
            if self._encoder is not None and self._tokens is not None and self._states is None:
                self._states = text_states(self._tokens, *self._encoder, self.store.path, self.in_memory)
            states = None if self._states is None else self._states[split]
            scaling = self.standardisation.scaling
            self._datasets[split] = FeatureDataset(self.store, split, self._labels[split], tokens, scaling, self.in_memory, states)
        return self._datasets[split]

    def train_dataloader(self) -> FeatureLoader:
        """Return the loader of train, in an order determined by seed and epoch."""
        dataset, passes, smallest = self.dataset("train"), self.passes, self.smallest_batch
        return FeatureLoader.over(dataset, self.batch_size, True, self.seed, self.num_workers, passes, smallest)

    def eval_dataloader(self, split: str) -> FeatureLoader:
        """Return the loader of any split, in file order."""
        return FeatureLoader.over(self.dataset(split), self.batch_size, False, self.seed, self.num_workers)

    def val_dataloader(self) -> FeatureLoader:
        """Return the loader of valid, in file order."""
        return self.eval_dataloader("valid")

    def test_dataloader(self) -> FeatureLoader:
        """Return the loader of test, in file order."""
        return self.eval_dataloader("test")

    # --- checkpoints ---------------------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the standardisation and the features it was measured on, so that a checkpoint scales other data like its training data."""
        return self.standardisation.state(self._store, str(self.name))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Use the standardisation of a checkpoint; features stay raw if they were raw there.

        Raises:
            DataError: its modalities or widths differ from those of this data.
        """
        self.standardisation.load(state_dict)
        self._datasets = {}
        if self._store is not None:
            self.standardisation.check(self._store, self.path or self._store.path)
