"""Analysis of a run: arrays of its record in, tables and figures out."""
