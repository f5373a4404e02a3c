"""Training: steps, gradient accumulation, checkpoints, and the record a run leaves."""
