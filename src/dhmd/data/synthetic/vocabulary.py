"""Words of the embedded corpus: their valence, and their ids in the uncased BERT vocabulary (30,522 word pieces)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PLANTED: tuple[tuple[int, tuple[str, str]], ...] = (
    (-3, ("horrible", "terrible")),
    (-3, ("awful", "dreadful")),
    (-2, ("bad", "poor")),
    (-2, ("boring", "ugly")),
    (-1, ("slow", "dull")),
    (-1, ("flat", "odd")),
    (0, ("ordinary", "plain")),
    (1, ("fine", "nice")),
    (1, ("decent", "okay")),
    (2, ("good", "great")),
    (2, ("funny", "lovely")),
    (3, ("excellent", "amazing")),
    (3, ("wonderful", "brilliant")),
)
"""The planted tokens: valence, and the two words that express it."""

UNSAID = ("usual", "normal")
"""Words used if the language does not show the token."""

NOUNS = ("movie", "film", "story", "plot", "actor", "scene", "music", "ending", "voice", "script", "cast", "song", "hero", "book")
JOINS = ("and", "but", "so", "then")
EVENT, NOUN = "<event>", "<noun>"
CLAUSES: tuple[tuple[str, ...], ...] = (
    ("a", EVENT, NOUN),
    ("the", NOUN, "was", EVENT),
    ("i", "found", "it", EVENT),
    ("it", "felt", EVENT, "and", EVENT),
    ("this", "is", "a", "very", EVENT, NOUN),
    ("the", NOUN, "was", "really", EVENT, "and", EVENT),
)

CLS, SEP, PAD = 101, 102, 0
# fmt: off
IDS: dict[str, int] = {
    "horrible": 9202, "terrible": 6659, "awful": 9643, "dreadful": 21794, "bad": 2919, "poor": 3532, "boring": 11771, "ugly": 9200,
    "slow": 4030, "dull": 10634, "flat": 4257, "odd": 5976, "ordinary": 6623, "plain": 5810, "fine": 2986, "nice": 3835, "decent": 11519,
    "okay": 3100, "good": 2204, "great": 2307, "funny": 6057, "lovely": 8403, "excellent": 6581, "amazing": 6429, "wonderful": 6919,
    "brilliant": 8235, "usual": 5156, "normal": 3671, "movie": 3185, "film": 2143, "story": 2466, "plot": 5436, "actor": 3364, "scene":
    3496, "music": 2189, "ending": 4566, "voice": 2376, "script": 5896, "cast": 3459, "song": 2299, "hero": 5394, "book": 2338, "and":
    1998, "but": 2021, "so": 2061, "then": 2059, "a": 1037, "the": 1996, "was": 2001, "i": 1045, "found": 2179, "it": 2009, "felt":
    2371, "this": 2023, "is": 2003, "very": 2200, "really": 2428,
}
# fmt: on


def tokens_of_words(sentences: Sequence[Sequence[str]], length: int) -> npt.NDArray[np.int64]:
    """Return the ids of the words of sentences, as the uncased BERT tokenizer gives them.

    Args:
        sentences: N lists of known words, each at most ``length`` - 2 long.
        length: number of tokens T.

    Returns:
        (N, 3, T) ids with [CLS] and [SEP], mask, segments.
    """
    tokens = np.zeros((len(sentences), 3, length), np.int64)
    for row, words in zip(tokens, sentences, strict=True):
        ids = [CLS, *(IDS[w] for w in words), SEP]
        row[0, : len(ids)] = ids
        row[1, : len(ids)] = 1
    return tokens
