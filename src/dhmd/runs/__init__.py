"""The run folder: the one package that names, writes and reads its files."""
