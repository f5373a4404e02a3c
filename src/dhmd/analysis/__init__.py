"""What a run shows: arrays of its record in, tables and figures out."""
