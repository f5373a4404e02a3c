"""Checkpoints as the DMD authors save them, from the arrays of the parity fixture."""

from pathlib import Path

import numpy as np
import pytest
import torch

REFERENCE = dict(np.load(Path(__file__).parent / "parity" / "data" / "dmd_reference.npz", allow_pickle=False))
NETWORK = {k.removeprefix("model."): torch.from_numpy(v) for k, v in REFERENCE.items() if k.startswith("model.")}
UNITS = [
    {k.removeprefix(prefix): torch.from_numpy(v) for k, v in REFERENCE.items() if k.startswith(prefix)}
    for prefix in ("homo_gd.", "hetero_gd.")
]
INPUTS = {"language": REFERENCE["in.text"], "vision": REFERENCE["in.vision"], "acoustic": REFERENCE["in.audio"]}


def as_saved(**changes):
    """The network's state_dict as the authors' code has it: bare names, and a positional buffer that was never initialised."""
    weights = {**NETWORK, **changes}
    return {k: torch.full_like(v, float("nan")) if k.endswith("_float_tensor") else v for k, v in weights.items()}


def save(folder, content, name="dmd.pth"):
    torch.save(content, folder / name)
    return folder / name


def with_bert():
    """The same with a BERT of random weights in it, as theirs has, 99 word pieces and 32 wide."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'text'")
    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 16}
    bert = transformers.BertModel(transformers.BertConfig(**sizes))
    return as_saved(**{f"text_model.model.{k}": v for k, v in bert.state_dict().items()})
