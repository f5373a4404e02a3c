"""MMIM in both stages against the numbers of MMSA's."""

from pathlib import Path

from tests.parity.mmim import SYSTEM, compute
from tests.parity.reference import Reference

FILE = Path(__file__).parent / "data" / "baselines" / "mmim.npz"
LIMITS = {"out": 2e-6, "loss": 1e-5}
GRADIENTS = ("gradnorm", "gradnorm_stage0")


def test_every_number():
    reference = Reference.read(FILE)
    assert reference.config["system"] == SYSTEM
    found = compute(reference)
    assert set(found.names.values()) == set(reference.under("model."))
    expected = {k: reference.tensor(k) for k in reference.arrays if k.partition(".")[0] in (*LIMITS, *GRADIENTS)}
    assert found.values.keys() == expected.keys()  # so no gradient where the reference has none
    for key, value in expected.items():
        ours, kind = found.values[key].detach(), key.partition(".")[0]
        assert ours.shape == value.shape, key
        if kind in GRADIENTS:
            assert abs(ours - value) <= 1e-4 * value + 1e-7, key
        else:
            assert (ours - value).abs().max() / (1 + value.abs().max()) <= LIMITS[kind], key
