"""The vocabulary of the suite: modality names and their order, a batch of features, and the specification of a data set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import permutations
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

LANGUAGE, VISION, ACOUSTIC = MODALITIES = ("language", "vision", "acoustic")
"""The three modalities of the papers, in the order of the papers' losses and edges."""

RESERVED = frozenset({"batch", "batch_size", "index", "label", "text_bert", "texts", "tokens", "training"})
"""Names that no modality can have, because they are used beside the features; attributes of torch's ModuleDict are excluded, too."""

Pairs = tuple[tuple[str, str], ...]
"""The pair (teacher, student) of each edge."""

Task = Literal["regression", "binary", "multiclass"]


@dataclass(frozen=True)
class FeatureSpec:
    """Specification of the data that a network reads.

    Attributes:
        dims: width d_m of each modality's features, in modality order.
        lengths: number of frames T_m of each modality as stored (padded).
        task: the kind of label: regression, binary or multiclass.
        n_classes: number of classes of a multiclass task.
        aligned: whether the modalities share one clock (word-aligned).
        token_length: number of tokens a sample has for a text encoder (padded); None without tokens.
        sizes: number of samples of each split; empty where it is not known.
    """

    dims: Mapping[str, int]
    lengths: Mapping[str, int]
    task: Task = "regression"
    n_classes: int = 1
    aligned: bool = True
    token_length: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in order."""
        return tuple(self.dims)

    @property
    def out_dim(self) -> int:
        """Width of a prediction: the number of classes of a multiclass task, else 1."""
        return self.n_classes if self.task == "multiclass" else 1


@dataclass(frozen=True)
class FeatureBatch:
    """A batch of samples.

    Attributes:
        features: per modality (B, T_m, d_m) float.
        masks: per modality (B, T_m) bool, True where the frame is real; the real frames of a sample are contiguous.
        label: (B,) float for regression and binary tasks, long for multiclass; None when unknown.
        tokens: (B, 3, T) long: token ids, mask, segments of the language modality's text, for text encoders.
        index: (B,) long, the sample's row in its split.
        encoded: whether the language features are the hidden states of ``tokens`` by the network's own, frozen text encoder.
    """

    features: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    label: Tensor | None = None
    tokens: Tensor | None = None
    index: Tensor | None = field(default=None)
    encoded: bool = False

    def __post_init__(self) -> None:
        """Check the shapes against each other.

        Raises:
            ValueError: features are not (B, T, d), a mask is not (B, T), tokens are not (B, 3, T), or the batch sizes differ.
        """
        sizes = {}
        for name, x in self.features.items():
            if x.ndim != 3:
                raise ValueError(f"{name}: features must be (B, T, d), found shape {tuple(x.shape)}")
            if name not in self.masks or self.masks[name].shape != x.shape[:2]:
                found = tuple(self.masks[name].shape) if name in self.masks else "none"
                raise ValueError(f"{name}: mask must be {tuple(x.shape[:2])}, found {found}")
            sizes[name] = x.shape[0]
        if self.label is not None:
            sizes["label"] = self.label.shape[0]
        if self.tokens is not None:
            if self.tokens.ndim != 3 or self.tokens.shape[1] != 3:
                raise ValueError(f"tokens must be (B, 3, T): ids, mask, segments; found shape {tuple(self.tokens.shape)}")
            sizes["tokens"] = self.tokens.shape[0]
        counts = list(sizes.values())
        if not counts or any(n != counts[0] for n in counts):  # compared one by one, because torch.export needs its symbolic sizes
            raise ValueError(f"batch sizes differ: {sizes}")

    @classmethod
    def from_arrays(cls, *, label: Any = None, tokens: Any = None, **features: Any) -> FeatureBatch:
        """Build a batch from arrays; masks are inferred from all-zero frames at both ends.

        Args:
            label: (B,) or (B, 1), optional; integers are class numbers, anything else becomes float32.
            tokens: (B, 3, T) ids, mask, segments, optional.
            **features: one (B, T_m, d_m) array or tensor a modality, named by modality, in modality order.

        Raises:
            ValueError: shapes do not fit each other, a value is no finite number, or no modality is given.

        Example:
            >>> batch = FeatureBatch.from_arrays(language=[[[1.0], [2.0], [0.0]]], vision=[[[3.0, 4.0]]])
            >>> batch.modalities, batch.masks["language"]
            (('language', 'vision'), tensor([[ True,  True, False]]))
        """
        if not features:
            raise ValueError("no modality given; expected for example language=, vision=, acoustic=")
        tensors = {name: _tensor(name, x, torch.float32) for name, x in features.items()}
        for name, x in tensors.items():
            if x.ndim != 3:
                raise ValueError(f"{name}: features must be (B, T, d), found shape {tuple(x.shape)}")
            if not x.isfinite().all():
                raise ValueError(f"{name}: {int((~x.isfinite()).sum())} values are NaN or infinite; replace them, for example by 0")
        return cls(
            features=tensors,
            masks={name: real_frames(x) for name, x in tensors.items()},
            label=None if label is None else _label(label),
            tokens=None if tokens is None else _tensor("tokens", tokens, torch.long),
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in order."""
        return tuple(self.features)

    @property
    def labels(self) -> Tensor:
        """Labels (B,) of the batch.

        Raises:
            ValueError: the batch has none.
        """
        if self.label is None:
            raise ValueError("the data has no labels; training and evaluation need them")
        return self.label

    def __len__(self) -> int:
        return next(iter(self.features.values())).shape[0]

    def _map(self, f: Any) -> FeatureBatch:
        def apply(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {k: f(v) for k, v in value.items()}
            return f(value) if isinstance(value, Tensor) else value

        return FeatureBatch(**{x.name: apply(getattr(self, x.name)) for x in fields(self)})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FeatureBatch:
        """Return the same batch on another device."""
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def double(self) -> FeatureBatch:
        """Return the same batch with its features (and a fractional label) in double precision."""
        return self._map(lambda t: t.double() if t.is_floating_point() else t)

    def pin_memory(self) -> FeatureBatch:
        """Return the same batch in page-locked memory."""
        return self._map(lambda t: t.pin_memory())


def _tensor(name: str, values: Any, dtype: torch.dtype) -> Tensor:
    """Return a tensor with its own memory (later changes to ``values`` do not reach it)."""
    try:
        if isinstance(values, Tensor):
            return values.detach().clone().to(dtype)
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"found values of type {array.dtype}")
        return torch.from_numpy(np.array(array, np.int64 if dtype == torch.long else np.float32, order="C"))
    except (TypeError, ValueError, RuntimeError) as e:
        raise ValueError(f"{name}: expected an array of numbers; {e}") from e


def _label(values: Any) -> Tensor:
    whole = not values.is_floating_point() if isinstance(values, Tensor) else np.asarray(values).dtype.kind in "iu"
    label = _tensor("label", values, torch.long if whole else torch.float32).reshape(-1)
    if not whole and not label.isfinite().all():
        raise ValueError("label: a value is NaN or infinite")
    return label


def real_frames(x: Tensor) -> Tensor:
    """Mark the frames between the first and the last non-zero frame of each sample.

    Args:
        x: (B, T, d).

    Returns:
        (B, T) bool. Zero frames between real ones are real; a sample of zeros has none.
    """
    nonzero = (x != 0).any(dim=-1).long()
    seen_from_left = nonzero.cumsum(dim=1) > 0
    seen_from_right = nonzero.flip(1).cumsum(dim=1).flip(1) > 0
    return seen_from_left & seen_from_right


def name_fault(name: str) -> str | None:
    """Return the reason why ``name`` cannot name a modality, as the end of a sentence; None if it can.

    Names are parts of parameter names, of paths in HDF5 files, of csv columns and of edges (``language->gesture``).
    """
    if not re.fullmatch(r"\w([\w-]*\w)?", name):
        return "is no name for a modality: expected letters, digits and underscores"
    if name in RESERVED or hasattr(torch.nn.ModuleDict, name):
        return "is reserved and no name for a modality"
    return None


def edge_pairs(modalities: tuple[str, ...]) -> Pairs:
    """Return (teacher, student) of every edge between modalities: students in order, and for each its teachers in order.

    >>> edge_pairs(("language", "vision"))
    (('vision', 'language'), ('language', 'vision'))
    """
    return tuple((teacher, student) for student, teacher in permutations(modalities, 2))
