"""Hydra configures logging for a process that ends; here many commands run in one."""

import logging

import pytest


@pytest.fixture(autouse=True)
def logging_as_before():
    """Take away the handlers that write to a test's captured output."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger in (logging.getLogger(name) for name in logging.root.manager.loggerDict):
        logger.disabled = False
