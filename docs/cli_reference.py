"""The command line as Markdown, from the real parsers and conf/: every verb, every choice. Plain Python; the site and a test use it."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from itertools import takewhile
from pathlib import Path

from dhmd.cli import _parser, main
from dhmd.config import conf_dir
from dhmd.results.cli import parser as results_parser

WIDTH = 86


def verbs() -> dict[str, argparse.ArgumentParser | None]:
    """Every verb by its words ("train", "data inspect"), with its parser; None for the one whose help is Hydra's."""
    found: dict[str, argparse.ArgumentParser | None] = dict(_leaves(_parser(), ""))
    return {**found, "train": None, "results": results_parser()}


def summaries() -> dict[str, str]:
    """One line a verb, as the parsers' own lists of verbs have it."""
    return dict(_summaries(_parser(), ""))


def markdown() -> str:
    """The reference: `dhmd --help`, then a section a verb."""
    about = summaries()
    with _width():
        sections = [_block("dhmd --help", _parser().format_help())]
        for verb, parser in verbs().items():
            text = parser.format_help() if parser else _printed(verb)
            sections.append(f"## dhmd {verb}\n\n{_sentence(about[verb])}\n\n{_block(f'dhmd {verb} --help', text)}")
    sections.append("## Choices of dhmd train\n\nEvery file of `conf/`, in its own words; `dhmd train GROUP=CHOICE` takes it.")
    for group, found in choices().items():
        rows = [f"| `{name}` | {about} |" for name, about in found.items()]
        sections.append("\n".join([f"### {group}", "", f"| `{group}=` | |", "|---|---|", *rows]))
    return "\n\n".join(sections) + "\n"


def choices() -> dict[str, dict[str, str]]:
    """The files of conf/ by group and name, each with the first sentences of its comment."""
    groups = sorted(p for p in conf_dir().iterdir() if p.is_dir())
    return {g.name: {str(f.relative_to(g).with_suffix("")): _comment(f) for f in sorted(g.rglob("*.yaml"))} for g in groups}


def _comment(file: Path) -> str:
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    comment = " ".join(line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    return comment.replace("|", "\\|")


def _leaves(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, child in action.choices.items():
            yield from _leaves(child, f"{words} {name}".strip())


def _summaries(parser: argparse.ArgumentParser, words: str) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                name = f"{words} {choice.dest}".strip()
                yield name, choice.help or ""
                yield from _summaries(action.choices[choice.dest], name)


def _printed(verb: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        main([verb, "--help"])
    return out.getvalue()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _block(command: str, text: str) -> str:
    return f"```text\n$ {command}\n{text.strip()}\n```"


@contextmanager
def _width() -> Iterator[None]:
    """Help is wrapped at this width, without colours, whatever terminal there is."""
    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ |= {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


if __name__ == "__main__":
    print(markdown())
