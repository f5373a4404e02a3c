"""Rendering of the page: a template, its style and its script in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dhmd.report.build import Report
from dhmd.report.details import THEMES

_SCRIPTS = ("tables.js", "choosers.js", "browser.js")
# characters that would end a script element or are invalid in a JavaScript string
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(report: Report) -> str:
    """Return the page as HTML; the same report gives the same page.

    Every text is escaped, and a content security policy allows this page's own style and script alone, by their hashes.
    """
    environment = Environment(
        loader=PackageLoader("dhmd.report", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = breakable
    style, script = _text("report.css"), "".join(_text(name) for name in _SCRIPTS)
    themes = [theme for theme in THEMES if any(theme in one.panels for one in report.details)]
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'; img-src data:"
    )
    return environment.get_template("page.html").render(
        report=report,
        themes=themes,
        policy=policy,
        style=Markup(style),  # noqa: S704 our own files
        script=Markup(script),  # noqa: S704 our own files
        browser=embedded(report.browser),
    )


def embedded(content: Any) -> Markup:
    """Return JSON that is safe inside a script element."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup("".join(_ESCAPED.get(c, c) for c in text))  # noqa: S704 escaped here, as JSON has it


def breakable(text: str) -> Markup:
    """Return a long name that may be broken after its underscores."""
    return escape(text).replace("_", Markup("_<wbr>"))


def _text(name: str) -> str:
    return (files("dhmd.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
