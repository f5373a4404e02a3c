"""Evaluation of runs: metrics, and statistics over seeds and samples."""
