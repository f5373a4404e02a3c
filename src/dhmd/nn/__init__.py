"""Blocks of the networks: tensors in, tensors out. Only torch and the vocabulary of ``dhmd.batch`` are known here."""
