"""The test samples of a run from predictions.csv, for pairing two runs sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dhmd.errors import RunError
from dhmd.evaluation.metrics import MetricFunction, metrics_for
from dhmd.runs.reader import Run

Array = NDArray[Any]
_AGREES = 1e-4  # metrics.json was computed from float32 on the run's own device


@dataclass(frozen=True)
class Samples:
    """A run's test split.

    Attributes:
        run: the folder's name, for messages.
        ids: N ids.
        label: (N,).
        prediction: (N, C).
        function: the metrics of the run's task and convention.
        sha256: SHA-256 of predictions.csv.
    """

    run: str
    ids: tuple[str, ...]
    label: Array
    prediction: Array
    function: MetricFunction
    sha256: str

    @property
    def video(self) -> Array:
        """(N,) number of each sample's video: its id up to the last ``$_$``, or the whole id without one."""
        return np.unique([name.rsplit("$_$", 1)[0] for name in self.ids], return_inverse=True)[1]


def read_samples(run: Run) -> Samples:
    """Return the test split in predictions.csv.

    Raises:
        RunError: the file is missing or damaged, or the metrics computed from it differ from those of metrics.json.
    """
    path = run.path / "predictions.csv"
    columns = run.predictions()
    heads = [name for name in columns if name == "prediction" or (name.startswith("prediction_") and name[11:].isdigit())]
    if not heads or not {"split", "id", "label"} <= set(columns):
        raise RunError(f"{path}: found the columns {list(columns)[:5]}..., expected split, id, label and prediction; train the run again")
    here = [i for i, split in enumerate(columns["split"]) if split == "test"]
    try:
        label = np.array([float(columns["label"][i]) for i in here])
        prediction = np.array([[float(columns[name][i]) for name in heads] for i in here])
        function = metrics_for(run.metrics["task"], run.metrics.get("convention") or "mosi")
        found = function(prediction, label)
    except ValueError as error:
        raise RunError(f"{path}: the test split cannot be read ({error}); train the run again") from error
    for name, value in found.items():
        if name in run.test and abs(run.test[name] - value) > _AGREES:
            raise RunError(
                f"{path}: {name} of the test split is {value:.6g}, metrics.json says {run.test[name]:.6g}: one of them was changed; "
                "train the run again"
            )
    ids = tuple(columns["id"][i] for i in here)
    return Samples(run.name, ids, label, prediction, function, hashlib.sha256(path.read_bytes()).hexdigest())


def check_same_samples(samples: Sequence[Samples]) -> None:
    """Check that the runs were tested on the same samples, in the same order.

    Raises:
        RunError: an id or a label differs.
    """
    first = samples[0]
    for other in samples[1:]:
        if other.ids != first.ids or not np.array_equal(other.label, first.label):
            raise RunError(f"the test samples of {first.run} and {other.run} differ: their ids or labels are not the same")
