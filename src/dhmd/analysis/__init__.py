"""What a run shows: arrays of its record in, figures out."""
