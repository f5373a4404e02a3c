"""Settings of the whole suite."""

import os
import socket

import pytest
from hypothesis import settings

# the tests' arrays are tiny: a second thread would only wait, and where others work too, wait for long
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a deadline per example measures the machine's other work, not the code
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

pytest_plugins = ["tiny_runs", "resuming"]


@pytest.fixture
def free_port():
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
