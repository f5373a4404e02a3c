"""Blocks of the networks: tensors in, tensors out. They depend only on torch and on the vocabulary of ``dhmd.batch``."""
