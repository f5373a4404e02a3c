"""One self-contained page of many runs."""
