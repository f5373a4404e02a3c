"""Options of the embedded corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dhmd.batch import ACOUSTIC, LANGUAGE, MODALITIES, name_fault
from dhmd.data.layouts import KEYS, SPLITS
from dhmd.data.synthetic.vocabulary import CLAUSES
from dhmd.errors import UsageError

TAKEN = ("id", "raw_text", "text_bert", "regression_labels", "classification_labels", "annotations")  # keys that are not modalities


@dataclass(frozen=True)
class SyntheticOptions:
    """Options of the generator.

    Attributes:
        n_train: number of clips of train; likewise n_valid and n_test; a video has 8 clips.
        length: T of the language: at most ``length`` - 2 words, [CLS] and [SEP].
        aligned: whether all modalities have a frame a word; otherwise vision and acoustic have their own lengths, right padding and
            lengths.
        dims: feature width of each modality, in modality order: the language and any others, of the user's naming too.
        lengths: frames of the other modalities where not aligned; by default 3 ``length`` for acoustic, 2 ``length`` for the rest.
        reliability: reliability of each modality, from 0 (shows nothing) to 1 (shows all, nearly without noise).
        private_weight: contribution of the acoustic private factor to the label, in label units a standard deviation.
        classes: 3 (negative, neutral, positive) or 2 (not positive, positive).
        seed: seed of the corpus; runs with different seeds share one corpus.
    """

    n_train: int = 640
    n_valid: int = 160
    n_test: int = 320
    length: int = 20
    aligned: bool = True
    dims: Mapping[str, int] = field(default_factory=lambda: {"language": 32, "vision": 16, "acoustic": 10})
    lengths: Mapping[str, int] = field(default_factory=dict)
    reliability: Mapping[str, float] = field(default_factory=lambda: {"language": 0.8, "vision": 0.4, "acoustic": 0.6})
    private_weight: float = 0.0
    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UsageError: an option is out of its range.
        """
        longest_clause = max(map(len, CLAUSES))
        for name, value, good in (
            ("n_train, n_valid, n_test", (self.n_train, self.n_valid, self.n_test), min(self.n_train, self.n_valid, self.n_test) > 0),
            ("length", self.length, self.length >= longest_clause + 2),
            ("dims", dict(self.dims), LANGUAGE in self.dims and min(self.dims.values()) > 0),
            ("reliability", dict(self.reliability), set(self.reliability) == set(self.dims)
             and all(0 <= r <= 1 for r in self.reliability.values())),
            ("lengths", dict(self.lengths), set(self.lengths) <= set(self.dims) - {LANGUAGE}
             and all(n > 0 for n in self.lengths.values())),
            ("private_weight", self.private_weight, not self.private_weight or ACOUSTIC in self.dims),
            ("classes", self.classes, self.classes in (2, 3)),
            ("seed", self.seed, self.seed >= 0),
        ):  # fmt: skip
            if not good:
                raise UsageError(f"data.synthetic.{name}: found {value}, which is out of range; see SyntheticOptions")
        for modality in self.dims:
            others = {key for m, key in self.keys.items() if m != modality}
            key_taken = {self.keys[modality], f"{self.keys[modality]}_lengths"} & {*TAKEN, *others, *(f"{k}_lengths" for k in others)}
            if fault := name_fault(modality) or ("is taken by something else in a split" if key_taken else None):
                raise UsageError(f"data.synthetic.dims: {modality!r} {fault}; choose another name for this modality")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SyntheticOptions:
        """Return options made from a mapping.

        Raises:
            UsageError: a name is unknown, or a value is out of its range.
        """
        known = [f.name for f in fields(cls)]
        if unknown := [k for k in options if k not in known]:
            raise UsageError(f"data.synthetic: found {unknown[0]!r}, expected one of {', '.join(known)}")
        plain: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in options.items()}
        try:
            return cls(**plain)
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"data.synthetic: found {plain}, in which a value is of the wrong type ({error})") from error

    @property
    def sizes(self) -> dict[str, int]:
        """Number of clips of each split."""
        return dict(zip(SPLITS, (self.n_train, self.n_valid, self.n_test), strict=True))

    @property
    def keys(self) -> dict[str, str]:
        """Key of each modality in the generated splits."""
        return {m: KEYS.get(m, m) for m in self.dims}

    @property
    def further(self) -> tuple[str, ...]:
        """Modalities beyond the papers' three."""
        return tuple(m for m in self.dims if m not in MODALITIES)

    def length_of(self, modality: str) -> int:
        """Return T of a modality."""
        if self.aligned or modality == LANGUAGE:
            return self.length
        return self.lengths.get(modality, self.length * (3 if modality == ACOUSTIC else 2))
