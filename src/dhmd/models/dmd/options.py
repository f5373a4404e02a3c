"""Options of decoupled distillation: dropout, decoupling, and the stages of a space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

from dhmd.batch import MODALITIES
from dhmd.errors import UsageError
from dhmd.models.options import MAX_RATE
from dhmd.nn.dictionary import Activation, Pool
from dhmd.nn.graph_distillation import EdgeKind, prior_of_text


@dataclass(frozen=True)
class Dropout:
    """Dropout rates; ``attention`` is a map by source modality (0 for a modality it does not name) or one rate for all."""

    RANGES: ClassVar = dict.fromkeys(("memory", "relu", "residual", "embedding", "text", "output"), (0, MAX_RATE))

    attention: Mapping[str, float] | float = field(default_factory=dict)
    memory: float = 0.0
    relu: float = 0.0
    residual: float = 0.0
    embedding: float = 0.0
    text: float = 0.0
    output: float = 0.0


@dataclass(frozen=True)
class DecouplingOptions:
    """Options of ``dhmd.nn.decoupling.Decoupling``."""

    private_similarity: bool = False


@dataclass(frozen=True)
class DistillationOptions:
    """Options of ``dhmd.nn.graph_distillation.GraphDistillationUnit``; ``prior`` False stands for none, a text for the map it writes."""

    RANGES: ClassVar = {"width": (1, inf)}

    width: int = 64
    edges: EdgeKind = "learned"
    softmax_over: Literal["all", "student"] = "all"
    prior: Mapping[str, float] | str | bool = field(default_factory=dict)
    input: Literal["feature", "dictionary"] = "feature"


@dataclass(frozen=True)
class DictionaryOptions:
    """Options of ``dhmd.nn.dictionary.SharedDictionary``."""

    RANGES: ClassVar = {"entries": (1, inf), "width": (1, inf), "temperature": (1e-6, inf)}

    entries: int = 512
    width: int | None = None
    activation: Activation = "sparsemax"
    pool: Pool = "max"
    temperature: float = 2.0
    detach: bool = True
    init: Literal["normal", "xavier"] = "normal"


Factory = Callable[..., Any]
"""Factory of a user's own stage; ``dhmd.models.dmd.stages`` describes its arguments and its result."""


@dataclass(frozen=True)
class SpaceOptions:
    """Stages of one space, each as options of the suite, a user's own factory, or None for an absent stage."""

    unimodal_heads: bool = True
    distillation: DistillationOptions | Factory | None = None
    dictionary: DictionaryOptions | Factory | None = None


def prior_of(prior: Mapping[str, float] | str | bool | None, modalities: tuple[str, ...], key: str) -> dict[str, float] | None:
    """Return the prior in the form the Graph Distillation Unit takes, from a configuration.

    In a map, edges from or to one of the papers' three modalities that the data does not have are left out, because presets name them.
    A text replaces a whole map, so every edge that it names must exist.

    Args:
        prior: a map, a text (``dhmd.nn.graph_distillation.prior_of_text``), or False or None for none.
        modalities: modalities of the data.
        key: key of the option, for messages.

    Raises:
        UsageError: the prior is none of these.
    """
    if prior is None or prior is False:
        return None
    if isinstance(prior, str):
        try:
            return prior_of_text(prior)
        except ValueError as e:
            raise UsageError(f"{key}: {e}") from e
    if not isinstance(prior, Mapping):
        raise UsageError(f'{key}: found {str(prior).lower()}; expected false for none, a text or a map "teacher->student: value"')
    known, absent = {*modalities, *MODALITIES}, set(MODALITIES) - set(modalities)
    ends = {name: str(name).split("->") for name in prior}
    left_out = {n for n, e in ends.items() if len(set(e)) == len(e) == 2 and set(e) <= known and set(e) & absent}
    return {name: value for name, value in prior.items() if name not in left_out}
