"""Matrix products in bf16, parameters in float32."""

import pytest

from dhmd.errors import UsageError
from dhmd.runs.reader import read_run
from dhmd.training.train import train


def test_bf16_mixed_trains_to_nearly_the_same(tiny, tmp_path, no_figures):
    losses = {
        precision: [row["mae"] for row in train(tiny(tmp_path / precision, f"trainer.precision={precision}")).metrics["validation"]]
        for precision in ("32-true", "bf16-mixed")
    }
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.02)  # 8 bits of mantissa: 0.4 % a product
    assert losses["bf16-mixed"] != losses["32-true"], "the precision did not arrive"
    assert read_run(tmp_path / "bf16-mixed").config["trainer"]["precision"] == "bf16-mixed"


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "half"])
def test_parameters_stay_in_float32(tiny, tmp_path, precision):
    with pytest.raises(UsageError, match=rf"trainer.precision: found '{precision}', expected one of 32-true, bf16-mixed"):
        train(tiny(tmp_path / "run", f"trainer.precision={precision}"))
    assert not (tmp_path / "run").exists()
