"""Settings of the whole suite."""

from hypothesis import settings

# a deadline per example measures the machine's other work, not the code
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

pytest_plugins = ["tiny_runs"]
