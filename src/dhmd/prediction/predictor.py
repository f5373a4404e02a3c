"""The predictor behind `dhmd.load`: a trained network from raw features to predictions, edges and dictionary entries as numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec, real_frames
from dhmd.errors import DataError, RunError, data_error
from dhmd.nn.temporal import Flatten
from dhmd.outputs import Outputs, nested
from dhmd.prediction.result import Array, Prediction
from dhmd.prediction.scaling import Preparation
from dhmd.runs.arrays import EdgeRecord
from dhmd.runs.folder import RunFolder
from dhmd.training.inference import edge_records
from dhmd.training.load import LoadedNetwork, load_network, usable_device


class Predictor:
    """A run's network at its best epoch; made by `dhmd.load`.

    Attributes:
        spec: specification of the features it was trained on.
        modalities: modalities whose features it reads; without language if a text encoder reads tokens.
        needs_tokens: whether it reads tokens or texts.
        fixed_lengths: whether sequences must have the lengths of ``spec``, because heads are flattened.
        config: the run's configuration in plain types.
        feature_set: description of the features it was trained on.
    """

    def __init__(self, trained: LoadedNetwork, device: torch.device | str = "cpu") -> None:
        self._trained = trained
        self.config = trained.config
        self.device = torch.device(device)
        self.network = trained.network.to(self.device).eval()
        self.spec: FeatureSpec = trained.spec
        self.needs_tokens = bool(trained.text_encoder.needs_tokens)
        read: tuple[str, ...] = getattr(self.network, "modalities", self.spec.modalities)
        self.modalities = tuple(m for m in read if not (self.needs_tokens and m == LANGUAGE))
        self.preparation = Preparation.of_run(trained.data_state, trained.config["data"])
        self.feature_set = _feature_set(trained.folder, self.spec)
        self.fixed_lengths = any(isinstance(x, Flatten) for x in self.network.modules())

    def predict(
        self,
        batch: FeatureBatch | None = None,
        /,
        *,
        tokens: Any = None,
        texts: Sequence[str] | None = None,
        batch_size: int = 64,
        **features: Any,
    ) -> Prediction:
        """Predict samples from raw features as in a feature file; the run's standardisation is applied here.

        Args:
            batch: the samples, or None to give them as arrays.
            tokens: (N, 3, T) ids, mask, segments, for a run with a text encoder.
            texts: N sentences in place of tokens.
            batch_size: number of samples computed together.
            **features: one (N, T_m, d_m) array a modality; frames of zeros at both ends are padding.

        Raises:
            DataError: a modality is missing, features differ from those the run was trained on, or there are NaN or infinite values and the
                run's ``data.non_finite`` is ``error``.
        """
        if batch is None:
            try:
                batch = self._batch(features, tokens, texts)
            except ValueError as error:
                raise DataError(f"the arrays make no batch: {error}; {self.feature_set}") from error
        self.check({m: tuple(x.shape) for m, x in batch.features.items()}, None if batch.tokens is None else tuple(batch.tokens.shape))
        batch = batch.to("cpu")
        self.preparation.check({m: batch.features[m] for m in self.modalities})
        parts: dict[str, list[Array]] = {}
        edges: dict[str, EdgeRecord] = {}
        for start in range(0, len(batch), batch_size):
            outputs = self._compute(_rows(batch, slice(start, start + batch_size)))
            edges = edges or edge_records(outputs)
            for name, x in outputs.arrays().items():
                parts.setdefault(name, []).append(x.cpu().numpy())
        arrays = {name: np.concatenate(values) for name, values in parts.items()}
        return Prediction(
            prediction=arrays["prediction"],
            unimodal=nested(arrays, "unimodal"),
            edges={s: replace(e, weights=arrays.get(f"edges/{s}")) for s, e in edges.items()},
            activations=nested(arrays, "activations"),
        )

    def check(self, shapes: Mapping[str, tuple[int, ...]], tokens: tuple[int, ...] | None, where: str = "the samples") -> None:
        """Compare shapes with those of the data that the run was trained on.

        Args:
            shapes: (N, T_m, d_m) by modality.
            tokens: shape (N, 3, T) of the tokens; None without.
            where: name of the input, for messages.

        Raises:
            DataError: the shapes do not fit; the message says which feature set the run was trained on.
        """
        do = f"give the features that the run was trained on: {self.feature_set}"
        if not next(iter(shapes.values()), tokens or (0,))[0]:
            raise data_error(where, "", found="no samples", expected="at least one", do="give some")
        for m in self.modalities:
            if m not in shapes:
                raise data_error(
                    where, m, found=f"none; there are {', '.join(shapes) or 'none'}", expected="features of this modality", do=do
                )
            (_, frames, width), length = shapes[m], self.spec.lengths[m]
            if width != self.spec.dims[m]:
                raise data_error(where, m, found=f"{width} features a frame", expected=f"{self.spec.dims[m]}", do=do)
            if self.fixed_lengths and frames != length:
                pad = f"pad with zeros or cut to {length} frames: the run's heads are flattened (model.summary=flatten)"
                raise data_error(where, m, found=f"{frames} frames", expected=f"{length}", do=pad)
        if self.needs_tokens:
            expected = f"(N, 3, {self.spec.token_length}): ids, mask, segments"
            if tokens is None or len(tokens) != 3 or tokens[1] != 3 or (self.fixed_lengths and tokens[2] != self.spec.token_length):
                found = "none" if tokens is None else f"shape {tokens}"
                raise data_error(where, "tokens", found=found, expected=expected, do="give tokens of this shape, or texts to make them of")

    @property
    def vocabulary(self) -> int:
        """Number of word pieces of its text encoder; 0 without one."""
        return int(self._trained.text_encoder.model.config.vocab_size) if self.needs_tokens else 0  # type: ignore[union-attr, arg-type]

    def tokens_of(self, texts: Sequence[str]) -> Array:
        """Return token ids, mask and segments (N, 3, T) of sentences, by the run's tokenizer.

        Raises:
            DataError: the tokenizer cannot be loaded.
        """
        try:
            tokens: Array = self._trained.text_encoder.tokenizer()(list(texts))  # type: ignore[operator]
        except ValueError as error:
            raise DataError(f"the texts cannot be tokenized: {error}; give tokens instead") from error
        return tokens

    def _batch(self, features: Mapping[str, Any], tokens: Any, texts: Sequence[str] | None) -> FeatureBatch:
        if unknown := [m for m in features if m not in self.spec.modalities]:
            raise ValueError(f"{unknown[0]} is no modality of the run, which has {', '.join(self.spec.modalities)}")
        if self.needs_tokens and tokens is None and texts is not None:
            tokens = self.tokens_of(texts)
        read = {m: features[m] for m in self.modalities if m in features}
        if not self.modalities and tokens is not None:
            read = {LANGUAGE: np.zeros((len(tokens), 1, 1))}  # a batch needs features; the text encoder replaces them by its own
        tensors = {m: _tensor(m, x, torch.float32) for m, x in read.items()}
        if odd := next((m for m, x in tensors.items() if x.ndim != 3), None):
            raise ValueError(f"{odd}: features must be (B, T, d), found shape {tuple(tensors[odd].shape)}")
        return FeatureBatch(  # not from_arrays: the run's policy decides on NaN and infinite values
            features=tensors,
            masks={m: real_frames(x) for m, x in tensors.items()},
            tokens=_tensor("tokens", tokens, torch.long) if self.needs_tokens and tokens is not None else None,
        )

    @torch.inference_mode()
    def _compute(self, batch: FeatureBatch) -> Outputs:
        outputs: Outputs = self.network(self.preparation(batch, self.modalities).to(self.device))
        return outputs


def _tensor(name: str, values: Any, dtype: torch.dtype) -> Tensor:
    try:
        return torch.as_tensor(values).detach().to("cpu", dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: no array of numbers ({str(error).splitlines()[0]})") from error


def load(run: str | Path, device: str = "cpu") -> Predictor:
    """Return a run's network, ready to predict; the run's data is not needed.

    Args:
        run: the run folder.
        device: device to compute on, as torch names it.

    Raises:
        RunError: the folder holds no run, or the checkpoint is missing or does not fit the run's configuration.
        UsageError: the device cannot be used.
    """
    where = usable_device(device)
    return Predictor(load_network(run), where)


def _rows(batch: FeatureBatch, at: slice) -> FeatureBatch:
    return FeatureBatch(
        features={m: x[at] for m, x in batch.features.items()},
        masks={m: x[at] for m, x in batch.masks.items()},
        tokens=None if batch.tokens is None else batch.tokens[at],
    )


def _feature_set(run: RunFolder, spec: FeatureSpec) -> str:
    """Return a description of the data of a run: name, file, widths."""
    try:
        data = run.description()
        source = (data["source"] or {}).get("name")
        name = f"{data['name']} ({source})" if source else str(data["name"])
    except (RunError, KeyError, TypeError, AttributeError):  # only the widths must agree
        name = "its data"
    widths = ", ".join(f"{m} {spec.lengths[m]} x {d}" for m, d in spec.dims.items())
    return f"{name}, frames x features: {widths}"
