"""Hydra plugins of dhmd: its sweepers, and the launcher that gives every job its own process."""
