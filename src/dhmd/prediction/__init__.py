"""Trained runs put to use: predictions for files, folders of arrays and batches."""
