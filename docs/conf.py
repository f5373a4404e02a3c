"""Sphinx configuration of the site: `make docs`. Pages are Markdown that reads as well on a repository's own page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import cli_reference  # noqa: E402  # beside this file

from dhmd import __version__  # noqa: E402

project = "dhmd"
author = copyright = "The dhmd developers"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_heading_anchors = 3  # links to headings are written as a repository's page has them
myst_enable_extensions = ["attrs_inline"]
default_role = "code"  # single backticks in docstrings are code

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_use_ivar = True

html_theme = "furo"
html_title = "dhmd"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "default"
pygments_dark_style = "github-dark"

ELSEWHERE = {"](../README.md": "](index.md", "](../CHANGELOG.md": "](changelog.md"}
"""Files above this folder that a page may link to, and the page that shows them."""


def filled(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to README and the changelog lead to the pages that include them; the parsers say what the command line takes."""
    for link, page in ELSEWHERE.items():
        source[0] = source[0].replace(link, page)
    if name == "cli":
        source[0] += cli_reference.markdown()


def plain_text(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings mean what they show: ``width: d.`` is a size and not the fourth item of a list, and bars are those of a norm."""
    sizes = [re.sub(r"^(\s+\w+: )([A-Za-z])\.$", r"\1``\2``.", line) for line in lines]
    lines[:] = [re.sub(r"(``.*?``|`.*?`)|\|", lambda found: found[1] or r"\|", line) for line in sizes]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", filled)
    app.connect("autodoc-process-docstring", plain_text, priority=400)  # before napoleon
