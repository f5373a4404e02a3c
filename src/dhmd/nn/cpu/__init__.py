"""Kernels for processors behind attention and dropout: masks of tiles, packed frames."""
