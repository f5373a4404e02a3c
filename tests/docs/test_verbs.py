"""Every verb of the parsers stands in an example that runs, in the reference of the command line, and in its table of verbs."""

import importlib.util

import pytest
from page_runner import blocks, commands
from pages import DOCS, PAGES

NEVER_RUN: dict[str, str] = {}
"""Verbs that no test can run from a page, each with the reason."""


def load_reference():
    spec = importlib.util.spec_from_file_location("cli_reference", DOCS / "cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = load_reference()
VERBS = REFERENCE.verbs()


def run_by_pages():
    shown = [c for page in PAGES for b in blocks(page) if b.runs and b.mark != "setup" and b.language == "console" for c in commands(b)]
    return [c.words[1:] for c in shown if c.is_dhmd]


@pytest.fixture(scope="module")
def reference():
    return REFERENCE.markdown()


@pytest.mark.parametrize("verb", VERBS)
def test_a_page_runs_the_verb(verb):
    words = verb.split()
    runs = [c for c in run_by_pages() if c[: len(words)] == words]
    assert bool(runs) != (verb in NEVER_RUN), f"no page runs `dhmd {verb}`: show it in a console block of docs/"


def test_verbs_that_cannot_run_are_verbs():
    assert set(NEVER_RUN) <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_reference_has_the_verb_with_its_options(verb, reference):
    section = reference.partition(f"\n## dhmd {verb}\n")[2].partition("\n## ")[0]
    assert f"$ dhmd {verb} --help\n" in section
    if VERBS[verb] is not None:
        for action in VERBS[verb]._actions:
            for name in action.option_strings or [action.metavar or next(iter(action.choices or ()), action.dest)]:
                assert str(name) in section


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_names_the_verb(verb):
    table = (DOCS / "cli.md").read_text(encoding="utf-8").partition("## The verbs")[2].partition("\n## ")[0]
    assert f"`{verb}`" in table, f"`{verb}` is missing in the table of docs/cli.md"


def test_the_reference_has_every_choice_of_the_configuration(reference):
    for group, names in REFERENCE.choices().items():
        section = reference.partition(f"\n### {group}\n")[2].partition("\n### ")[0]
        assert names
        for name, about in names.items():
            assert about, f"conf/{group}/{name}.yaml: begin it with a comment that says what it is"
            assert f"| `{name}` | {about} |" in section
