"""Published baselines, one file a network."""
