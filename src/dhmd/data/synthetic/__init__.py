"""The embedded synthetic corpus: options, generator and files."""
