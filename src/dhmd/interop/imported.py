"""The command ``dhmd import-dmd``: a run folder made from a checkpoint of the DMD authors."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dhmd.app import compose
from dhmd.batch import FeatureSpec
from dhmd.config import instantiate, to_plain
from dhmd.data.layouts import KEYS
from dhmd.errors import DataError, RunError, UsageError
from dhmd.files import atomic_path, write_text
from dhmd.interop.checkpoint import read_authors
from dhmd.interop.dmd import Plan, dmd_from_authors, plan_of
from dhmd.runs.folder import RunFolder
from dhmd.training.build import build_data, build_module
from dhmd.training.module import spec_state

PUBLISHED_DIMS = {(20, 5): "mosi", (35, 74): "mosei"}
"""Widths of vision and acoustic by which the published data sets are recognised."""


def import_dmd(checkpoint: str | Path, run_dir: str | Path, heads: int | None = None, data: str | Path | None = None) -> Path:
    """Make a run folder from a checkpoint of the authors, which `evaluate` and `predict` accept together with data.

    The folder has config.yaml (``model=dmd_authors`` with the sizes found in the arrays), environment.json, command.txt, data.json,
    checkpoints/best.ckpt and imported.json, which names the source of the weights. It has no metrics, history or predictions, because
    nothing was trained here. Options that no array shows are taken from the authors' configuration (dropout) or code (raw features, -inf
    as 0).

    Args:
        checkpoint: the authors' file, see `dhmd.interop.checkpoint.read_authors`.
        run_dir: the folder to make; it must not exist yet.
        heads: number of attention heads, which no array shows; None for the authors' number at this width (50: 10, 30: 6).
        data: the feature file on which the run is evaluated by default; it must fit the network. None to give it later.

    Returns:
        The run folder.

    Raises:
        DataError: the checkpoint is not one of the authors', its arrays contradict each other, or the data is missing or wrong.
        RunError: the data does not fit the network.
        UsageError: ``run_dir`` exists already.
    """
    checkpoint, run_dir = Path(checkpoint), Path(run_dir)
    if run_dir.exists():
        raise UsageError(f"{run_dir}: there is something already; choose another folder")
    arrays = read_authors(checkpoint)
    try:
        plan = plan_of(arrays, heads)
        network = dmd_from_authors(arrays, plan.options["heads"])
    except DataError as error:
        raise DataError(f"{checkpoint}: {error}") from error
    config = _config(plan, run_dir.absolute(), data)
    text_encoder = instantiate(config["text_encoder"], "text_encoder")
    module = build_module(config, text_encoder, plan.spec)
    module.network.load_state_dict(network.state_dict())
    state: dict[str, Any] = {"scaling": {}}  # the authors' features are raw
    if data is None:
        description = _description(plan.spec, config["data"])
    else:
        loaded = build_data(config, text_encoder, state=state)
        _check_fit(plan, loaded.spec, Path(data))
        description = loaded.description()
    with _new_folder(run_dir) as part:
        folder = RunFolder(part)
        folder.begin(config, description)
        with atomic_path(folder.best_checkpoint) as file:
            torch.save({"spec": spec_state(plan.spec), "state_dict": module.state_dict(), "FeatureDataModule": state}, file)
        write_text(folder.imported_file, json.dumps(_origin(checkpoint, plan, heads), indent=2) + "\n")
    return run_dir


def _config(plan: Plan, run_dir: Path, data: str | Path | None) -> dict[str, Any]:
    dims = plan.spec.dims
    known = PUBLISHED_DIMS.get((dims["vision"], dims["acoustic"]))
    name = "custom" if known is None else f"{known}_{'aligned' if plan.spec.aligned else 'unaligned'}"
    config: dict[str, Any] = to_plain(compose(["model=dmd_authors", f"data={name}", "run_dir=imported"]))
    config["run_dir"] = str(run_dir)
    config["data"] |= {"path": None if data is None else str(Path(data).absolute()), "standardise": False, "non_finite": "zero"}
    config["labels"] |= {"experiment": "imported", "text_encoder": "features" if plan.bert is None else "bert"}
    if plan.bert is not None:
        tokens = {"source": "bert-base-uncased", "max_tokens": plan.spec.token_length}
        config["text_encoder"] = {"_target_": "dhmd.nn.text.bert_of_sizes", **plan.bert, **tokens}
    model = config["model"]
    for space in ("homogeneous", "heterogeneous"):
        found = plan.options[space]["distillation"]
        model[space]["distillation"] = None if found is None else {**model[space]["distillation"], **found}
    model |= {key: value for key, value in plan.options.items() if key not in ("homogeneous", "heterogeneous")}
    return config


def _check_fit(plan: Plan, found: FeatureSpec, path: Path) -> None:
    """Check the data against the checkpoint: the authors' heads are flattened, so widths and numbers of frames must agree."""
    read = [m for m in plan.spec.modalities if plan.bert is None or m != "language"]
    for what in ("dims", "lengths"):
        expected, now = ({m: getattr(spec, what).get(m) for m in read} for spec in (plan.spec, found))
        if expected != now:
            raise RunError(f"{path}: the checkpoint was trained on data with {what} {expected}, this file has {now}")


def _description(spec: FeatureSpec, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description of the data as `FeatureDataModule.description` gives it; values that the arrays do not show are None."""
    keys = data["modalities"] or KEYS
    return {
        "name": data["name"],
        "synthetic": False,
        "path": None,
        "store": None,
        "source": None,
        "published_as": None,
        "samples": None,
        "modalities": {m: {"key": keys[m], "dim": spec.dims[m], "length": spec.lengths[m]} for m in spec.modalities},
        "aligned": spec.aligned,
        "task": spec.task,
        "n_classes": spec.n_classes,
        "label_range": data["label_range"],
        "standardised": False,
        "non_finite": {"policy": data["non_finite"], "values": None, "frames": None},
        "tokens": spec.token_length is not None,
        "warnings": ["the run was imported: only what the shapes of its arrays tell is known of its data"],
    }


def _origin(checkpoint: Path, plan: Plan, heads: int | None) -> dict[str, Any]:
    return {
        "made_by": "the authors' implementation of DMD; imported, not trained here",
        "file": checkpoint.name,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "heads": plan.options["heads"],
        "heads_from": "given" if heads is not None else "the authors' configuration at this width",
        "bert": plan.bert is not None,
        "graph_distillation_units": [s for s in ("homogeneous", "heterogeneous") if plan.options[s]["distillation"] is not None],
    }


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that appears at ``path`` complete or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise UsageError(f"{path}: cannot make the run folder ({error.strerror}); choose another") from error
    try:
        yield part
        os.umask(umask := os.umask(0))
        part.chmod(0o777 & ~umask)  # mkdtemp makes private folders
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
