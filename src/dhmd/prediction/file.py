"""The command ``dhmd predict``: a csv row for each sample of a file or folder."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from functools import partial
from pathlib import Path

from dhmd.data.progress import progress
from dhmd.errors import UsageError
from dhmd.files import write_text
from dhmd.prediction.inputs import read_samples
from dhmd.prediction.predictor import Predictor, load
from dhmd.prediction.result import Array, Prediction
from dhmd.prediction.samples import Samples


def predict_file(
    run: str | Path, source: str | Path, output: str | Path, split: str | None = None, batch_size: int = 64, device: str = "cpu"
) -> int:
    """Predict every sample of a file and write a csv with id, split, prediction, and a column for each unimodal head.

    The columns of unimodal heads are named ``<space>_<modality>``. With several classes, there is a column for each class:
    ``prediction_0``, ``prediction_1``, ...

    Args:
        run: the run folder.
        source: a feature pickle, a store, or a folder of arrays; labels are not needed.
        output: the csv, written atomically.
        split: the split to read; None for all.
        batch_size: number of samples computed together.
        device: device to compute on, as torch names it.

    Returns:
        The number of samples.

    Raises:
        RunError: the folder holds no run.
        DataError: the input is missing or does not fit the run.
        UsageError: an option is wrong, or the csv cannot be written.
    """
    if batch_size < 1:
        raise UsageError(f"batch-size: found {batch_size}, expected 1 or more")
    output = Path(output)
    if output.is_dir():
        raise UsageError(f"{output}: is a folder; name a csv file")
    predictor = load(run, device)
    found = read_samples(source, predictor.modalities, predictor.config["data"]["modalities"], split)
    found = {name: _with_tokens(predictor, samples) for name, samples in found.items()}
    for samples in found.values():
        predictor.check(samples.shapes, None if samples.tokens is None else samples.tokens.shape, samples.where)
    total, text = sum(map(len, found.values())), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    with progress("predicting", total, "samples") as advance:
        for name, samples in found.items():
            ids, first = iter(samples.ids), 0
            for batch in samples.batches(batch_size):
                place = partial(_place, samples, first)
                predictor.preparation.check({m: batch.features[m] for m in predictor.modalities}, place)
                first += len(batch)
                columns = _columns(predictor.predict(batch, batch_size=batch_size))
                if not text.tell():
                    writer.writerow(["id", "split", *columns])
                writer.writerows([next(ids), name, *map(str, row)] for row in zip(*columns.values(), strict=True))
                advance(len(batch))
    try:
        write_text(output, text.getvalue())
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror}); choose another file") from error
    return total


def _place(samples: Samples, first: int, modality: str, row: int) -> tuple[Path | str, str, str]:
    return samples.place(modality, first + row)


def _with_tokens(predictor: Predictor, samples: Samples) -> Samples:
    """Return the samples with tokens if the run reads them, from the file or from its texts as ``data.tokens`` of the run says."""
    source = predictor.config["data"]["tokens"]
    if not predictor.needs_tokens:
        return replace(samples, tokens=None)
    if samples.tokens is not None and source != "raw_text":
        return samples
    if samples.texts is not None and source != "text_bert":
        return replace(samples, tokens=predictor.tokens_of(samples.texts))
    return replace(samples, tokens=None)


def _columns(found: Prediction) -> dict[str, Array]:
    heads = {"prediction": found.prediction, **found.heads}
    return {name if values.shape[1] == 1 else f"{name}_{k}": values[:, k] for name, values in heads.items() for k in range(values.shape[1])}
