"""Hydra plugins of dhmd: its sweeper, and the launcher that gives every job a process."""
