"""Predictions of trained runs for files, folders of arrays and batches."""
