"""Sweeps: many runs by one command, with names and states of their jobs."""
