"""The embedded corpus: generated clips whose sentiment is driven by a planted latent sequence that each modality shows in its own way.

A clip says a few clauses. At some of its words a planted token happens, drawn near the clip's mood; each token has a valence and a
prototype in the shared latent space. The label is the mean valence of the clip's tokens. A modality m shows each token with probability
r_m, its reliability, and under noise that falls with r_m; beside it lie private factors (a style of the video and a slow drift) that do
not concern the label. What is said can be read, too: the words and their BERT token ids carry the tokens that the language shows.

A modality beyond the papers' three is planted like the others, from random numbers of its own: the rest of the corpus is the same with
and without it.

The corpus has the layout of the published pickles and their vices: padding on either side, lengths, -inf in the audio, features on wild
scales. Values are rounded to 2^-12, so that the last bits of a machine's arithmetic do not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.batch import ACOUSTIC, LANGUAGE
from dhmd.data.layouts import SPLITS
from dhmd.data.synthetic.options import SyntheticOptions as SyntheticOptions
from dhmd.data.synthetic.vocabulary import CLAUSES, EVENT, JOINS, NOUN, NOUNS, PLANTED, UNSAID, tokens_of_words

VERSION = 1  # version of the generator; a new version makes new stores
FURTHER = 1  # version of the modalities beyond the papers' three
VALENCE = np.array([valence for valence, _ in PLANTED], np.float64)
LATENT, PRIVATE = 8, 3  # widths of the shared and of each private factor
CLIPS = 8  # clips a video
BLOCK = 1024  # clips generated together; a multiple of CLIPS
ROWS = 64  # clips whose frames are computed together

FloatArray = npt.NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Truth:
    """Planted truth of a split of N clips, word by word; zero (tokens: -1) beyond a clip's words.

    Attributes:
        shared: (N, T, 8) the shared latent sequence; its first coordinate is the valence of the token.
        tokens: (N, T) the planted token at each word, -1 for none; ``VALENCE[token]`` is its valence.
        private: per modality (N, T, 3).
        valence: (N,) the label before rounding.
        words: (N,) number of words.
    """

    shared: FloatArray
    tokens: npt.NDArray[np.int64]
    private: Mapping[str, FloatArray]
    valence: FloatArray
    words: npt.NDArray[np.int64]

    def joined(self, other: Truth) -> Truth:
        """Return the clips of this truth followed by those of the other."""
        private = {m: np.concatenate([x, other.private[m]]) for m, x in self.private.items()}
        rest = {k: np.concatenate([getattr(self, k), getattr(other, k)]) for k in ("shared", "tokens", "valence", "words")}
        return Truth(private=private, **rest)


@dataclass(frozen=True)
class Generated:
    """A generated corpus: ``content`` is the content of a pickle, ``truth`` the planted truth, per split."""

    content: dict[str, Any]
    truth: dict[str, Truth]


@dataclass(frozen=True)
class _World:
    """Parameters shared by all clips: prototypes (tokens, 8), and by modality the mixing of all factors, scales and offsets."""

    prototypes: FloatArray
    shared: dict[str, FloatArray]
    private: dict[str, FloatArray]
    scale: dict[str, FloatArray]
    offset: dict[str, FloatArray]


def generate(options: SyntheticOptions | None = None) -> Generated:
    """Generate the corpus; the same options give the same corpus."""
    options = options or SyntheticOptions()
    content: dict[str, Any] = {split: {} for split in SPLITS}
    truth: dict[str, Truth] = {}
    for split, part, planted in blocks(options):
        content[split] = {k: _joined(content[split][k], v) for k, v in part.items()} if content[split] else part
        truth[split] = truth[split].joined(planted) if split in truth else planted
    content["synthetic"] = True
    return Generated(content, truth)


def blocks(options: SyntheticOptions) -> Iterator[tuple[str, dict[str, Any], Truth]]:
    """Yield the corpus in pieces of at most `BLOCK` clips: the split, its content as in a pickle, and its planted truth."""
    rng = np.random.Generator(np.random.PCG64(options.seed))
    own = {m: np.random.Generator(np.random.PCG64([options.seed, *m.encode()])) for m in options.further}
    streams = {m: own.get(m, rng) for m in options.dims}
    world = _world(options, rng, streams)
    video = 0
    for split, n in options.sizes.items():
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            yield split, *_split(options, world, rng, streams, size, video)
            video += -(-size // CLIPS)


def _joined(a: Any, b: Any) -> Any:
    return np.concatenate([a, b]) if isinstance(a, np.ndarray) else a + b


def _world(options: SyntheticOptions, rng: Rng, streams: Mapping[str, Rng]) -> _World:
    prototypes = rng.normal(size=(len(VALENCE), LATENT)) * 0.5
    prototypes[:, 0] = VALENCE
    mix = {
        m: (streams[m].normal(size=(LATENT, d)) / np.sqrt(LATENT), streams[m].normal(size=(PRIVATE, d)) / np.sqrt(PRIVATE))
        for m, d in options.dims.items()
    }
    wild = {m: m != LANGUAGE for m in options.dims}  # word vectors have one scale, signals do not
    scale = {m: 10 ** streams[m].uniform(-1, 1.5, size=d) if wild[m] else np.ones(d) for m, d in options.dims.items()}
    offset = {m: 2 * scale[m] * streams[m].normal(size=d) if wild[m] else np.zeros(d) for m, d in options.dims.items()}
    return _World(prototypes, {m: a for m, (a, _) in mix.items()}, {m: b for m, (_, b) in mix.items()}, scale, offset)


def _split(
    options: SyntheticOptions, world: _World, rng: Rng, streams: Mapping[str, Rng], n: int, first_video: int
) -> tuple[dict[str, Any], Truth]:
    plan = [_sentence(options.length - 2, rng) for _ in range(n)]
    words = np.array([len(p) for p in plan])
    tokens = np.full((n, options.length), -1)
    for row, sentence in zip(tokens, plan, strict=True):
        row[: len(sentence)] = [token for _, token in sentence]
    said = np.arange(options.length) < words[:, None]
    drift = 0.3 * _drift(n, options.length, LATENT, rng)
    drift[..., 0] = 0  # only tokens move the axis of the valence
    shared = (_prototype_part(world, tokens) + drift) * said[..., None]
    video = first_video + np.arange(n) // CLIPS
    private = {m: _private(video - first_video, options.length, streams[m]) * said[..., None] for m in options.dims}
    counts = (tokens >= 0).sum(axis=1)
    valence = np.where(tokens >= 0, VALENCE[tokens], 0).sum(axis=1) / counts
    if options.private_weight:
        valence = valence + options.private_weight * private[ACOUSTIC][..., 0].sum(axis=1) / words
    shown = {m: streams[m].random(tokens.shape) < r for m, r in options.reliability.items()}
    label = (np.rint(np.clip(valence, -3, 3) * 5) / 5).astype(np.float32)
    sentences = [
        [w if t < 0 else (PLANTED[t][1][rng.integers(2)] if s else UNSAID[rng.integers(2)]) for (w, t), s in zip(p, row, strict=False)]
        for p, row in zip(plan, shown[LANGUAGE], strict=True)
    ]
    content: dict[str, Any] = {
        "id": [f"demo{v:04d}$_${i % CLIPS}" for i, v in enumerate(video)],
        "raw_text": [" ".join(s) for s in sentences],
        "text_bert": tokens_of_words(sentences, options.length),
    }
    for modality, key in options.keys.items():
        seen = np.where(shown[modality][..., None] | (tokens < 0)[..., None], shared, shared - _prototype_part(world, tokens))
        x, frames = _frames(options, world, modality, seen, private[modality], words, streams[modality])
        content[key] = x
        if not options.aligned and modality != LANGUAGE:
            content[f"{key}_lengths"] = frames.tolist()
    classes = np.sign(label).astype(np.int64) + 1 if options.classes == 3 else (label > 0).astype(np.int64)
    names = ["Negative", "Neutral", "Positive"] if options.classes == 3 else ["Not positive", "Positive"]
    content.update(regression_labels=label, classification_labels=classes, annotations=[names[c] for c in classes])
    return content, Truth(shared, tokens, private, valence, words)


def _sentence(limit: int, rng: Rng) -> list[tuple[str, int]]:
    """Return words with the planted token at each, -1 for none; chance and the limit determine the number of clauses."""
    mood = np.clip(1.5 * rng.normal(), -3, 3)
    chance = np.exp(-((VALENCE - mood) ** 2) / (2 * 0.9**2))
    chance = np.cumsum(chance / chance.sum())
    sentence: list[tuple[str, int]] = []
    for _ in range(int(rng.integers(1, 5))):
        clause = CLAUSES[rng.integers(len(CLAUSES))]
        join = [(JOINS[rng.integers(len(JOINS))], -1)] if sentence else []
        if len(sentence) + len(join) + len(clause) > limit:
            break
        sentence += join
        for slot in clause:
            token = min(int(np.searchsorted(chance, rng.random())), len(chance) - 1) if slot == EVENT else -1
            sentence.append((NOUNS[rng.integers(len(NOUNS))] if slot == NOUN else slot, token))
    return sentence


def _drift(n: int, length: int, width: int, rng: Rng) -> FloatArray:
    """Return stationary AR(1) sequences (n, length, width) of unit variance."""
    x = rng.normal(size=(n, length, width))
    for t in range(1, length):
        x[:, t] = 0.8 * x[:, t - 1] + 0.6 * x[:, t]
    return x


def _private(video: npt.NDArray[np.int64], length: int, rng: Rng) -> FloatArray:
    style = rng.normal(size=(video.max() + 1, 1, PRIVATE))
    factors: FloatArray = (style[video] + _drift(len(video), length, PRIVATE, rng)) / np.sqrt(2)
    return factors


def _prototype_part(world: _World, tokens: npt.NDArray[np.int64]) -> FloatArray:
    part: FloatArray = np.where(tokens[..., None] >= 0, world.prototypes[tokens], 0)
    return part


def _frames(
    options: SyntheticOptions, world: _World, modality: str, seen: FloatArray, private: FloatArray, words: npt.NDArray[np.int64],
    rng: Rng,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:  # fmt: skip
    """Return the features (N, T, d) that one modality shows, padded, and its numbers of real frames (N,)."""
    length, reliability = options.length_of(modality), options.reliability[modality]
    frames = np.maximum(words * length // options.length, 1) if length != options.length else words
    at = np.minimum(np.arange(length) * words[:, None] // frames[:, None], words[:, None] - 1)  # the word at each frame
    x = np.empty((len(words), length, options.dims[modality]), np.float32)
    loudness = 0.2 + 0.5 * (1 - reliability) / max(reliability, 0.05)
    for first in range(0, len(words), ROWS):  # double precision only in pieces
        part = slice(first, first + ROWS)
        rows = np.arange(len(words))[part, None]
        clean = seen[rows, at[part]] @ world.shared[modality] + private[rows, at[part]] @ world.private[modality]
        noisy = (clean + loudness * rng.normal(size=clean.shape)) * world.scale[modality] + world.offset[modality]
        x[part] = np.rint(noisy * 4096) / 4096
    if modality == ACOUSTIC:
        x[rng.random(x.shape[:2]) < 0.02, :2] = -np.inf  # the logarithm of silence
    x[np.arange(length) >= frames[:, None]] = 0
    if options.aligned and modality != LANGUAGE:  # padding on the left, as in word-aligned data sets
        source = np.arange(length) - (length - frames[:, None])
        x = np.where(source[..., None] >= 0, x[np.arange(len(words))[:, None], np.maximum(source, 0)], np.float32(0))
    return x, frames
