"""What a run is worth: metrics, statistics over seeds and samples, published numbers, tables."""
