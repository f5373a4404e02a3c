"""The arrays of a run, record.h5: test predictions, edges, dictionary activations and embeddings.

Layout, for N test samples, C classes and E edges; a stage that the network did not have is absent::

    test/id                                       (N,) text
    test/label                                    (N,)
    test/prediction                               (N, out_dim)
    edges/<space>/pairs                           (E,) text, "teacher->student"
    edges/<space>/prior                           (E,), where there is one
    edges/<space>/test                            (N, E) learned weights, where edges are learned
    edges/<space>/validation                      (epochs, E) their means over the validation split
    edges/<space>/validation_by_class             (epochs, C, E) their means over the samples of each class
    activations/<space>/<modality>                (N, K) use of the dictionary's entries
    embeddings/<space>/<modality>                 (N, H) what enters fusion
    training/classes                              (C,) class numbers
    training/class_share                          (C,) share of the validation samples in each
    training/activations/<space>/<modality>       (epochs, C, K) means over the samples of each class
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dhmd.batch import MODALITIES
from dhmd.errors import RunError
from dhmd.files import atomic_path

Array = NDArray[Any]
_EDGE_ARRAYS = {"prior": "prior", "validation": "validation", "test": "weights", "validation_by_class": "validation_by_class"}
"""Name in the file, and attribute of `EdgeRecord`."""


@dataclass(frozen=True)
class EdgeRecord:
    """Edges of one space's Graph Distillation Unit.

    Attributes:
        pairs: (teacher, student) of each of the E edges.
        prior: (E,), None where there is none.
        validation: (epochs, E), mean learned weight of each epoch; None where edges are fixed or uniform, and outside of a run's record.
        weights: (N, E), learned weight of each sample; None where edges are fixed or uniform.
        validation_by_class: (epochs, C, E), the mean over the validation samples of each class; None likewise, and in older records.
    """

    pairs: tuple[tuple[str, str], ...]
    prior: Array | None
    validation: Array | None = None
    weights: Array | None = None
    validation_by_class: Array | None = None

    @property
    def names(self) -> list[str]:
        """Each edge as "teacher->student"."""
        return [f"{teacher}->{student}" for teacher, student in self.pairs]


@dataclass(frozen=True)
class ByEpoch:
    """Use of the dictionaries by the classes of the validation split during training.

    Attributes:
        classes: (C,) class numbers, as `analysis.activations` has them.
        share: (C,) share of the validation samples in each class.
        activations: by space and modality, (epochs, C, K) means over the samples of a class; 0 for a class without samples.
    """

    classes: Array
    share: Array
    activations: Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Record:
    """The arrays of a run; a stage the network did not have leaves its mapping empty.

    Attributes:
        ids: of the N samples: the test split's, where record.h5 was read.
        label: (N,).
        prediction: (N, out_dim).
        edges: by space.
        activations: by space and modality, (N, K).
        embeddings: by space and modality, (N, H).
        training: the dictionaries over training; None where the record has none (older ones).
    """

    ids: tuple[str, ...]
    label: Array
    prediction: Array
    edges: Mapping[str, EdgeRecord]
    activations: Mapping[str, Mapping[str, Array]]
    embeddings: Mapping[str, Mapping[str, Array]]
    training: ByEpoch | None = None

    def named(self) -> dict[str, Array]:
        """Every array by its name in the file."""
        text = h5py.string_dtype()
        found: dict[str, Array | None] = {
            "test/id": np.array(self.ids, dtype=text),
            "test/label": self.label,
            "test/prediction": self.prediction,
        }
        for space, edges in self.edges.items():
            found[f"edges/{space}/pairs"] = np.array(edges.names, dtype=text)
            found |= {f"edges/{space}/{name}": getattr(edges, attribute) for name, attribute in _EDGE_ARRAYS.items()}
        groups = {"activations": self.activations, "embeddings": self.embeddings}
        if self.training is not None:
            found |= {"training/classes": self.training.classes, "training/class_share": self.training.share}
            groups["training/activations"] = self.training.activations
        for kind, spaces in groups.items():
            found |= {f"{kind}/{space}/{modality}": x for space, inner in spaces.items() for modality, x in inner.items()}
        return {name: values for name, values in found.items() if values is not None}


def write_record(path: Path, record: Record, by_name: Mapping[str, Array] = MappingProxyType({})) -> None:
    """Write a record.h5.

    Args:
        path: the file.
        record: the arrays.
        by_name: further arrays by their names in the file.

    Raises:
        OSError: the folder cannot be written.
    """
    with atomic_path(path) as part, h5py.File(part, "w") as file:
        for name, values in {**record.named(), **by_name}.items():
            file[name] = values


def read_record(path: Path) -> Record:
    """Return the arrays of a record.h5.

    Raises:
        RunError: the file is missing, damaged or lacks the test set.
    """
    if not path.is_file():
        raise RunError(f"{path}: missing; the run wrote no record, train it again")
    try:
        with h5py.File(path, "r") as file:
            record = Record(
                ids=tuple(_texts(file["test/id"])),
                label=np.asarray(file["test/label"]),
                prediction=np.asarray(file["test/prediction"]),
                edges={space: _edges(group) for space, group in _ordered(file.get("edges", {}))},
                activations=_arrays(file.get("activations", {})),
                embeddings=_arrays(file.get("embeddings", {})),
                training=_by_epoch(file["training"]) if "training" in file else None,
            )
    except (OSError, KeyError, ValueError) as error:
        raise RunError(f"{path}: damaged or not a record of dhmd ({error}); train the run again") from error
    _check_sizes(path, record)
    return record


def _ordered(group: Any) -> list[tuple[str, Any]]:
    """The members of a group: spaces and modalities in the papers' order, others after them (HDF5 sorts by name)."""
    order = {name: i for i, name in enumerate(("homogeneous", "heterogeneous", *MODALITIES))}
    return sorted(group.items(), key=lambda item: order.get(item[0], len(order)))


def _arrays(group: Any) -> dict[str, dict[str, Array]]:
    return {space: {modality: np.asarray(x) for modality, x in _ordered(inner)} for space, inner in _ordered(group)}


def _edges(group: Any) -> EdgeRecord:
    pairs = tuple((teacher, student) for teacher, student in (pair.split("->") for pair in _texts(group["pairs"])))
    arrays = {attribute: np.asarray(group[name]) if name in group else None for name, attribute in _EDGE_ARRAYS.items()}
    return EdgeRecord(pairs, **arrays)


def _by_epoch(group: Any) -> ByEpoch:
    return ByEpoch(np.asarray(group["classes"]), np.asarray(group["class_share"]), _arrays(group.get("activations", {})))


def _texts(dataset: Any) -> list[str]:
    return [x.decode() if isinstance(x, bytes) else str(x) for x in dataset[()]]


def _check_sizes(path: Path, record: Record) -> None:
    """Everything about the test set must have a row a sample."""
    sizes = {"test/label": len(record.label), "test/prediction": len(record.prediction)}
    for kind, group in (("activations", record.activations), ("embeddings", record.embeddings)):
        sizes |= {f"{kind}/{space}/{name}": len(x) for space, inner in group.items() for name, x in inner.items()}
    sizes |= {f"edges/{space}/test": len(edges.weights) for space, edges in record.edges.items() if edges.weights is not None}
    wrong = {name: n for name, n in sizes.items() if n != len(record.ids)}
    if wrong:
        raise RunError(f"{path}: found rows {wrong}, expected {len(record.ids)}, as many as test/id; train the run again")
    if record.training is not None:
        _check_classes(path, record, record.training)


def _check_classes(path: Path, record: Record, training: ByEpoch) -> None:
    """Everything by class must have a row a class."""
    classes = {"training/class_share": training.share.shape}
    for space, inner in training.activations.items():
        classes |= {f"training/activations/{space}/{name}": x.shape[1:2] for name, x in inner.items()}
    for space, edges in record.edges.items():
        if edges.validation_by_class is not None:
            classes[f"edges/{space}/validation_by_class"] = edges.validation_by_class.shape[1:2]
    expected = training.classes.shape
    wrong = {name: shape for name, shape in classes.items() if shape != expected}
    if wrong:
        raise RunError(f"{path}: found classes {wrong}, expected {expected}, as many as training/classes; train the run again")
