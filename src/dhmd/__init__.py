"""Decoupled multimodal distillation: DMD, DHMD and their ablations, as one experiment suite.

Heavy libraries load when a name is first used, so that ``import dhmd`` and ``dhmd --help`` stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dhmd.batch import FeatureBatch, FeatureSpec
    from dhmd.prediction.predictor import Predictor, load
    from dhmd.prediction.result import Prediction

__version__ = "0.2.0"
__all__ = ["FeatureBatch", "FeatureSpec", "Prediction", "Predictor", "__version__", "load"]

_HOME = {
    "FeatureBatch": "dhmd.batch",
    "FeatureSpec": "dhmd.batch",
    "Prediction": "dhmd.prediction.result",
    "Predictor": "dhmd.prediction.predictor",
    "load": "dhmd.prediction.predictor",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in ("data", "evaluation", "interop", "losses", "models", "nn", "prediction", "training"):
        return import_module(f"dhmd.{name}")
    raise AttributeError(f"module 'dhmd' has no attribute {name!r}")
