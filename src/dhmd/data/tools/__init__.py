"""Inspection and verification of data files."""
