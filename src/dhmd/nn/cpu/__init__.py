"""CPU kernels of attention and dropout: masks of tiles, packed frames."""
