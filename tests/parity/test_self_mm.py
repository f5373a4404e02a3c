"""Every number of the public Self-MM: outputs, centres, labels of two epochs, losses and gradient norms."""

from pathlib import Path

import pytest

from tests.parity.reference import Reference
from tests.parity.self_mm import SYSTEM, compute

FOLDER = Path(__file__).parent / "data" / "baselines"
COMPARED = ("out.", "loss.", "gradnorm.")


@pytest.mark.parametrize("name", ["self_mm_aligned", "self_mm_unaligned"])
def test_every_number_of_the_reference(name):
    reference = Reference.read(FOLDER / f"{name}.npz")
    assert reference.config["system"] == SYSTEM
    found = compute(reference)
    keys = {key for key in reference.arrays if key.startswith(COMPARED)}
    assert keys == set(found.values)
    assert {f"model.{theirs}" for theirs in found.names.values()} == {key for key in reference.arrays if key.startswith("model.")}
    for key in sorted(keys):
        expected, value = reference.tensor(key), found.values[key].detach()
        assert value.shape == expected.shape, key
        difference = (value - expected).abs().max()
        if key.startswith("gradnorm."):
            assert difference <= 1e-4 * expected + 1e-7, key
        else:
            limit = 1e-5 if key.startswith(("loss.", "out.label", "out.center")) else 2e-6
            assert difference <= limit * (1 + expected.abs().max()), key
