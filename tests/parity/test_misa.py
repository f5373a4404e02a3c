"""MISA as MMSA runs it on unaligned files: of audio and vision, the frames up to the text's length alone."""

from dataclasses import replace
from pathlib import Path

import torch

from dhmd.baselines.misa import Misa
from tests.parity.misa import MODALITIES, read_batch, read_network, their_outputs
from tests.parity.reference import Reference

FILE = Path(__file__).parent / "data" / "baselines" / "misa.npz"


def test_longer_audio_and_vision_change_nothing_with_the_lengths_of_text():
    reference = Reference.read(FILE)
    batch = read_batch(reference)
    network, _ = read_network(reference, batch)
    published = Misa(network.spec, hidden=12, dropout=0.0, attention_dropout=0.0, lengths="language")
    published.load_state_dict(network.state_dict())
    torch.manual_seed(0)
    features = {m: torch.cat([x, torch.randn(5, 30, x.shape[2])], dim=1) if m in MODALITIES else x for m, x in batch.features.items()}
    masks = {m: torch.ones(5, 38, dtype=torch.bool) if m in MODALITIES else x for m, x in batch.masks.items()}
    longer = replace(batch, features=features, masks=masks)
    for name, found in their_outputs(published(longer)).items():
        assert (found - reference.tensor(f"out.{name}")).abs().max() < 2e-6, name
    own = their_outputs(network(longer))["M"]
    assert (own - reference.tensor("out.M")).abs().max() > 1e-3
