"""Source files on the way to checked arrays: safe unpickling, lazy arrays, checks of fields, real frames, fingerprints."""
