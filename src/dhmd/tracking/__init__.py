"""Runs in Weights & Biases and TensorBoard: names, results logged at their end, later uploads, a workspace of panels."""
