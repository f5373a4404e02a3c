"""Runs in Weights & Biases and TensorBoard: what they are called, what is logged at their end, uploading later, a workspace of panels."""
