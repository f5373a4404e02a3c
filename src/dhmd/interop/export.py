"""The command ``dhmd export``: a run's network as one file that runs without this package."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import dhmd
from dhmd.batch import LANGUAGE, FeatureBatch, real_frames
from dhmd.errors import RunError, UsageError
from dhmd.files import write_bytes
from dhmd.outputs import Outputs, heads_of
from dhmd.prediction.predictor import Predictor, load

Format = Literal["torch", "onnx"]
Tensors = dict[str, Tensor]
TOKENS = "tokens"
TOLERANCE = 1e-4
"""Maximum difference between the exported network and the run's on random samples, absolute and relative."""


@dataclass(frozen=True)
class Exported:
    """Result of an export.

    Attributes:
        path: the file.
        inputs: shape of each input by name, with ``batch`` and ``<modality> frames`` for sizes that may vary.
        outputs: names of the outputs: prediction, and ``<space>_<modality>`` for each unimodal head.
        difference: maximum absolute difference from the run's own network on random samples.
    """

    path: Path
    inputs: dict[str, tuple[int | str, ...]]
    outputs: list[str]
    difference: float


class Deployed(nn.Module):
    """A run's network from raw features to prediction and unimodal heads, including standardisation and padding.

    Frames of zeros at both ends are padding, as for `dhmd.load(run).predict`.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network = predictor.network
        self.modalities = predictor.modalities
        self.zero_non_finite = predictor.preparation.non_finite == "zero"
        for m in self.modalities:
            scaling = predictor.preparation.scaling.get(m)
            self.register_buffer(f"{m}_mean", torch.zeros(1) if scaling is None else scaling.mean)
            self.register_buffer(f"{m}_std", torch.ones(1) if scaling is None else scaling.std)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """Predict from features (B, T_m, d_m) by modality, and from ``tokens`` (B, 3, T) if the network reads them."""
        features, masks = {}, {}
        for m in self.modalities:
            x = inputs[m]
            masks[m] = real_frames(x)
            scaled = (x - getattr(self, f"{m}_mean")) / getattr(self, f"{m}_std")
            hidden = ~masks[m].unsqueeze(-1) | ~x.isfinite() if self.zero_non_finite else ~masks[m].unsqueeze(-1)
            features[m] = scaled.masked_fill(hidden, 0.0)
        tokens = inputs.get(TOKENS)
        if tokens is not None and not features:  # a batch needs features; the text encoder replaces them by its own
            features = {LANGUAGE: tokens[:, 1, :, None].float()}
            masks = {LANGUAGE: tokens[:, 1] > 0}
        outputs: Outputs = self.network(FeatureBatch(features, masks, tokens=tokens))
        return heads_of(outputs.arrays())


def export(run: str | Path, output: str | Path, format: Format) -> Exported:
    """Write a run's network to one file and compare it with the run on random samples.

    ``torch`` is a program of `torch.export` (``torch.export.load(file).module()({"language": ..., ...})`` gives the outputs by name);
    ``onnx`` a model for onnxruntime and others. The batch may have any size, and sequences any length where the run's heads are pooled.

    Args:
        run: the run folder.
        output: the file, written atomically.
        format: ``torch`` or ``onnx``.

    Raises:
        RunError: the folder holds no run, or the outputs of the exported network differ.
        UsageError: the format is unknown, its packages are missing, or the file cannot be written.
    """
    if format not in WRITERS:
        raise UsageError(f"format: found {format!r}, expected {' or '.join(WRITERS)}")
    output = Path(output)
    if output.is_dir():
        raise UsageError(f"{output}: is a folder; name a file")
    predictor = load(run)
    deployed = Deployed(predictor).eval().requires_grad_(False)
    inputs = _random(predictor, samples=3, longer=1)
    program = _trace(predictor, deployed, inputs)
    outputs = list(deployed(inputs))
    about = {"made_by": f"dhmd {dhmd.__version__}", "trained_on": predictor.feature_set, "outputs": outputs}
    content, compute = WRITERS[format](program, about, list(inputs))
    difference = max(_difference(deployed, compute, _random(predictor, n, longer)) for n, longer in ((1, 0), (5, 3)))
    try:
        write_bytes(output, content)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror}); choose another file") from error
    shapes = {name: _shape(predictor, name, x) for name, x in inputs.items()}
    return Exported(output, shapes, outputs, difference)


def _trace(predictor: Predictor, deployed: Deployed, inputs: Tensors) -> ExportedProgram:
    free = {name: {i: Dim.DYNAMIC for i, n in enumerate(_shape(predictor, name, x)) if isinstance(n, str)} for name, x in inputs.items()}
    with _quiet():
        return torch.export.export(deployed, (inputs,), dynamic_shapes=(free,), strict=False)


def _shape(predictor: Predictor, name: str, x: Tensor) -> tuple[int | str, ...]:
    return ("batch", f"{name} frames" if name != TOKENS and not _fixed(predictor) else x.shape[1], x.shape[2])


def _fixed(predictor: Predictor) -> bool:
    """Return whether sequences must have the lengths of the run's data: torch exports a recurrent layer for one padded length."""
    return predictor.fixed_lengths or any(isinstance(x, nn.RNNBase) for x in predictor.network.modules())


def _random(predictor: Predictor, samples: int, longer: int) -> Tensors:
    """Return random samples with padding at both ends; if lengths may vary, each modality has another length."""
    generator = torch.Generator().manual_seed(samples)
    found: Tensors = {}
    for i, m in enumerate(predictor.modalities):
        frames = predictor.spec.lengths[m] + (0 if _fixed(predictor) else longer * (i + 1))
        x = torch.randn(samples, frames, predictor.spec.dims[m], generator=generator)
        x[: samples // 2, 0], x[0, -1] = 0, 0
        found[m] = x
    if len(found) > 1:
        found[predictor.modalities[-1]][-1] = 0  # a sample without a real frame
    if predictor.needs_tokens:
        length = predictor.spec.token_length or 1
        ids = torch.randint(0, predictor.vocabulary, (samples, length), generator=generator)
        mask = (torch.arange(length) < torch.randint(1, length + 1, (samples, 1), generator=generator)).long()
        found[TOKENS] = torch.stack([ids, mask, torch.zeros_like(ids)], dim=1)
    return found


def _difference(deployed: Deployed, compute: Callable[[Tensors], Tensors], inputs: Tensors) -> float:
    expected, found = deployed(inputs), compute(inputs)
    for name, x in expected.items():
        if not torch.allclose(found[name], x, rtol=TOLERANCE, atol=TOLERANCE):
            largest = float((found[name] - x).abs().max())
            raise RunError(f"the exported network differs from the run's by {largest:.2g} in {name}; please report it; nothing was written")
    return max(float((found[name] - x).abs().max()) for name, x in expected.items())


def _to_torch(program: ExportedProgram, about: Mapping[str, Any], names: list[str]) -> tuple[bytes, Callable[[Tensors], Tensors]]:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"dhmd.json": json.dumps(about)})
    content = file.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()


def _to_onnx(program: ExportedProgram, about: Mapping[str, Any], names: list[str]) -> tuple[bytes, Callable[[Tensors], Tensors]]:
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise UsageError(f"format=onnx needs {', '.join(missing)}: pip install 'dhmd[export]'")
    import onnxruntime

    with _quiet():
        made: Any = torch.onnx.export(program, dynamo=True, input_names=names, output_names=about["outputs"], optimize=False, verbose=False)
        _simplify(made.model)
    model = made.model_proto
    for key, value in about.items():
        model.metadata_props.add(key=key, value=str(value))
    content: bytes = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def compute(inputs: Tensors) -> Tensors:
        arrays = {given.name: inputs[given.name].numpy() for given in session.get_inputs()}
        return {name: torch.from_numpy(x) for name, x in zip(about["outputs"], session.run(about["outputs"], arrays), strict=True)}

    return content, compute


def _simplify(model: Any) -> None:
    """Simplify a model of onnx_ir like the exporter's optimiser, but without rewriting rules and without traces of each node's origin.

    The rules' time grows with the square of the number of nodes, to minutes; onnxruntime fuses the same nodes when it loads a model.
    """
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants_ir

    common.InlinePass()(model)
    fold_constants_ir(model)
    for simpler in (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        simpler(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages about its own steps."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


WRITERS: Mapping[str, Callable[[ExportedProgram, Mapping[str, Any], list[str]], tuple[bytes, Callable[[Tensors], Tensors]]]] = {
    "torch": _to_torch,
    "onnx": _to_onnx,
}
