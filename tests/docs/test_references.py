"""Targets of the references in README and docs/: links, anchors, paths, choices and keys; every page has its place in the site."""

import inspect
import re
from functools import cache

import pytest
import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from page_runner import FENCE, FILE, blocks, commands
from pages import DOCS, PAGES, ROOT

from dhmd.app import compose

CONF = ROOT / "conf"
GROUPS = sorted(p.name for p in CONF.iterdir() if p.is_dir())
LINKED = [*PAGES, *sorted((DOCS / "api").glob("*.md"))]
INCLUDES = {DOCS / "index.md": ROOT / "README.md", DOCS / "changelog.md": ROOT / "CHANGELOG.md"}
FOLDERS = ("api", "baselines")
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
OF_NO_FILE = {"..."}  # choices that stand for any


def prose(page):
    """The lines outside of fences."""
    lines, inside = [], ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if fence := FENCE.match(line):
            inside = "" if fence[1] == inside and not fence[2] else inside or fence[1]
        elif not inside:
            lines.append(line)
    return lines


@cache
def anchors(page):
    """Anchors of its headings, as repositories' pages and the site make them."""
    found = []
    for line in prose(page):
        if line.startswith("#"):
            text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip())
            found.append(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found


def links(page):
    text = re.sub(r"`[^`]*`", "", "\n".join(prose(page)))
    return re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("page", LINKED, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link}: no such file"
        assert target not in INCLUDES, f"{link}: a repository's page of it is empty; link to {INCLUDES[target].name}"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading; there are {', '.join(anchors(target))}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_paths_in_prose_exist(page):
    made = {m[1] for block in blocks(page) if (m := FILE.match(block.text))}
    for span in re.findall(r"`([^`\s]+)`", "\n".join(prose(page))):
        if re.match(r"(docs|src|conf|tests|\.ci)/[\w/.-]*$", span) and span not in made and not span.startswith("docs/_build"):
            assert (ROOT / span).exists(), f"`{span}`: no such file or folder"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_choices_of_the_configuration_exist(page):
    text = page.read_text(encoding="utf-8")
    for wrong in (c.text for b in blocks(page) if b.language == "console" for c in commands(b) if "dhmd: " in c.expected):
        text = text.replace(wrong, "")  # shown for what is said of it
    made = set(re.findall(r"([\w/]+)\.yaml", text))
    for group, values in re.findall(rf"(?<![\w.-])({'|'.join(GROUPS)})=([\w/,]+|\.\.\.)", text):
        for value in set(values.split(",")) - OF_NO_FILE - {"null"}:
            own = any(path.endswith(f"{group}/{value}") for path in made)
            assert own or (CONF / group / f"{value}.yaml").is_file(), f"{group}={value}: no conf/{group}/{value}.yaml"


def test_every_group_and_every_ablation_is_told():
    training = (DOCS / "training.md").read_text(encoding="utf-8")
    for group in set(GROUPS) - {"authors", "published"}:  # parts of other files, which nobody names
        assert f"| `{group}` |" in training, f"the table of docs/training.md lacks the group {group}"
    for file in (CONF / "ablation").glob("*.yaml"):
        assert f"`{file.stem}`" in training, f"the tables of docs/training.md lack ablation={file.stem}"


@cache
def keys():
    found = set()
    for overrides in (
        ["model=dhmd"],
        ["model=dmd_authors"],
        ["model=text_only", "text_encoder=bert"],
        *([f"model={name}"] for name in ("misa", "self_mm", "mmim")),
        ["experiment=minilm"],
    ):
        found |= set(below(compose([*overrides, "run_dir=."])))
    return found | {f"trainer.{name}" for name in inspect.signature(pl.Trainer.__init__).parameters}


def below(node, path=""):
    for name in map(str, node):
        yield f"{path}{name}"
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not OmegaConf.is_missing(node, name) and not child._is_none():
            yield from below(child, f"{path}{name}.")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_keys_of_the_configuration_exist(page):
    text = page.read_text(encoding="utf-8")
    for key in re.findall(r"(?<![\w.+-])((?:model|data|objective|optimisation|trainer|callbacks|text_encoder)(?:\.[a-z_]+)+)=", text):
        assert key in keys(), f"{key}=: no such key"


def test_every_page_has_its_place_in_the_site():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    entries = re.findall(r"^([\w/]+)$", index, re.MULTILINE)
    pages = {p.stem for p in DOCS.glob("*.md")} - {"index"} | {f"{folder}/index" for folder in FOLDERS}
    assert sorted(entries) == sorted(pages), "the toctrees of docs/index.md are not the pages there are"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_page_of_a_folder_has_its_place(folder):
    entries = re.findall(r"^(\w+)$", (DOCS / folder / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(entries) == sorted({p.stem for p in (DOCS / folder).glob("*.md")} - {"index"})
