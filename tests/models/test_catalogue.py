"""Every network of the suite has a file of conf/model, says where it comes from, and is held against the numbers of its public code."""

import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

from conformance import presets, target
from dhmd.config import OPEN_PACKAGES, _locate
from dhmd.models import Network
from tests.parity.adapters import adapters, dialect_of
from tests.parity.reference import Reference

DATA = Path(__file__).parents[1] / "parity" / "data"


def networks():
    """The public networks of the packages that a configuration may build from."""
    found = {}
    for name in OPEN_PACKAGES:
        try:
            package = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        modules = [package, *(importlib.import_module(info.name) for info in pkgutil.walk_packages(package.__path__, f"{name}."))]
        for module in modules:
            for key, value in vars(module).items():
                if isinstance(value, type) and issubclass(value, Network) and value is not Network and not key.startswith("_"):
                    found[value.__qualname__] = value
    return [found[name] for name in sorted(found)]


every = pytest.mark.parametrize("network", networks(), ids=lambda network: network.__name__)


def test_there_are_networks():
    assert {"DecoupledDistillation", "TextOnly"} <= {network.__name__ for network in networks()}


@every
def test_a_configuration_builds_it(network):
    assert [p for p in presets() if _locate(target(p), "model") is network], f"no file of conf/model has {network.__name__} as _target_"


@every
def test_it_says_where_it_comes_from(network):
    source = network.source
    assert len(source.paper) > 10
    assert not source.code or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{7,40}", source.code), "expected owner/repository@commit"


@every
def test_it_is_held_against_its_public_code(network):
    if not network.source.code:
        return  # a control of the suite
    own = [adapter for adapter in adapters() if network in vars(adapter).values()]
    assert own, f"no module of tests.parity computes the reference numbers of {network.__name__}"
    files = [Reference.read(path) for path in DATA.rglob("*.npz") if "config" in np.load(path).files]
    assert any(dialect_of(adapter).system(file) == adapter.SYSTEM for adapter in own for file in files), f"no file of {own[0].SYSTEM}"
