"""Runs on the embedded corpus against what was planted in it."""
