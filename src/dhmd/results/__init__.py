"""Tables over runs: means over seeds with intervals, tested differences, published rows, Markdown, LaTeX and csv."""
