"""The base class of every network: data specification, text encoder, modalities and parameter groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.nn.text import GivenFeatures
from dhmd.outputs import Outputs


@dataclass(frozen=True)
class Citation:
    """The origin of a network.

    Attributes:
        paper: authors, title, venue and year.
        code: the public code it was compared with, as ``owner/repository@commit``; "" for none.
    """

    paper: str
    code: str = ""


class Network(nn.Module, ABC):
    """A network from a `FeatureBatch` to `Outputs`.

    A subclass builds its layers from ``self.spec``, the specification after the text encoder, reads its batch through `encode`, and
    returns `Outputs` or a subclass of it.

    Args:
        spec: specification of the data.
        text_encoder: encoder of tokens to language features; None if the features are given.

    Attributes:
        spec: the specification with the language features as the text encoder makes them.
        modalities: names of the modalities that the network reads, in order; all of the data's unless a subclass says otherwise.
        groups: parameter groups of the optimizer, each with the dotted names of its submodules; all other parameters are in ``network``,
            those of the text encoder in ``text_encoder``.
        reads_padding: whether padded frames make a difference to the outputs.
        needs_tokens: whether the network requires a text encoder.
        aligned_only: whether the modalities must share one clock.
        smallest_batch: minimum number of samples of a training batch.
        source: paper and public code.

    Raises:
        UsageError: the data or the text encoder does not meet the network's needs.
    """

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    reads_padding: bool = False
    needs_tokens: ClassVar[bool] = False
    aligned_only: ClassVar[bool] = False
    smallest_batch: ClassVar[int] = 1
    source: ClassVar[Citation]

    def __init__(self, spec: FeatureSpec, text_encoder: nn.Module | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        self.text_encoder = GivenFeatures() if text_encoder is None else text_encoder
        if self.text_encoder.needs_tokens and LANGUAGE not in spec.dims:
            raise UsageError(
                f"text_encoder: found an encoder, which makes features of the modality {LANGUAGE!r}; the data has "
                f"{', '.join(spec.modalities)}; set text_encoder=features, or have {LANGUAGE} among data.modalities"
            )
        if self.needs_tokens and not self.text_encoder.needs_tokens:
            raise UsageError(f"text_encoder: found given features; {name} reads tokens; set text_encoder=bert or text_encoder=minilm")
        if self.aligned_only and not spec.aligned:
            raise UsageError(f"data: found unaligned modalities; {name} needs them word-aligned; choose aligned features")
        self.spec: FeatureSpec = self.text_encoder.encoded(spec)  # type: ignore[operator]
        self.modalities: tuple[str, ...] = self.spec.modalities

    def encode(self, batch: FeatureBatch) -> FeatureBatch:
        """Return the batch with the text encoder's states as language features, restricted to the network's modalities in its order.

        Raises:
            ValueError: a modality is missing.
        """
        batch = self.text_encoder(batch, padding=self.reads_padding)
        if missing := [m for m in self.modalities if m not in batch.features]:
            raise ValueError(f"the batch has no {missing[0]} features; the network reads {', '.join(self.modalities)}")
        features, masks = batch.features, batch.masks
        return replace(batch, features={m: features[m] for m in self.modalities}, masks={m: masks[m] for m in self.modalities})

    @abstractmethod
    def forward(self, batch: FeatureBatch) -> Outputs:
        """Predict a batch."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trained parameters by group: ``text_encoder``, the network's own `groups`, and ``network``, without empty groups."""
        groups = {name: self._parameters_of(paths) for name, paths in {"text_encoder": ("text_encoder",), **self.groups}.items()}
        taken = {id(p) for group in groups.values() for p in group}
        groups["network"] = [p for p in self.parameters() if p.requires_grad and id(p) not in taken]
        return {name: group for name, group in groups.items() if group}

    def _parameters_of(self, paths: tuple[str, ...]) -> list[nn.Parameter]:
        """Return the trained parameters of the submodules that exist, each once."""
        modules = dict(self.named_modules())
        found = (p for path in paths if path in modules for p in modules[path].parameters() if p.requires_grad)
        return list(dict.fromkeys(found))


def undecayed(network: nn.Module) -> frozenset[int]:
    """Return the ids of a network's biases and of norms' weights, which are often excluded from weight decay.

    These are parameters of one axis, parameters whose names end in ``bias``, and the names that a module lists as ``no_decay`` (layers
    that hold several in one array).
    """
    found = set()
    for module in network.modules():
        listed = getattr(module, "no_decay", ())
        for name, p in module.named_parameters(recurse=False):
            if p.dim() <= 1 or name.endswith("bias") or name in listed:
                found.add(id(p))
    return frozenset(found)


def declared_groups() -> set[str]:
    """Return the names of the parameter groups that any network may have."""
    return {"text_encoder", "network", *(name for kind in _subclasses() for name in kind.groups)}


def _subclasses() -> Iterator[type[Network]]:
    waiting = Network.__subclasses__()
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting += kind.__subclasses__()
