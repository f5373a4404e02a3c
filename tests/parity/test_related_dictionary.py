"""Our dictionary block against the numbers of public related code (tests/parity/data/README.md)."""

from pathlib import Path

import numpy as np
import torch

from dhmd.nn.dictionary import SharedDictionary

REFERENCE = dict(np.load(Path(__file__).parent / "data" / "dictionary_reference.npz", allow_pickle=False))


def test_dictionary_block():
    entries, width = REFERENCE["dictionary"].shape
    assert REFERENCE["pool"] == "max"
    block = SharedDictionary(("language",), width, entries, temperature=float(REFERENCE["tau"]))
    weights = {f"query.language.{k[len('query.q_map.') :]}": torch.from_numpy(v) for k, v in REFERENCE.items() if k.startswith("query.")}
    block.load_state_dict({"entries": torch.from_numpy(REFERENCE["dictionary"]), **weights})
    activations, codes = block({"language": torch.from_numpy(REFERENCE["in.sequence"])}, {"language": None})
    for found, expected in (
        (activations["language"], REFERENCE["activation"]),
        (activations["language"] @ block.entries, REFERENCE["code"]),
        (codes["language"], REFERENCE["code_normalised"]),
    ):
        assert np.abs(found.detach().numpy() - expected).max() / np.abs(expected).max() < 1e-5
