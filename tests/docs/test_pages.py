"""README and every page of docs/ do what they say: their examples run, in order, in an empty folder."""

import os
import sys

import pytest
from page_runner import Runner, blocks, in_process
from pages import PAGES

from dhmd import reproduce

# run with the slow tests
SLOW = {"analysis.md", "findings.md", "modalities.md", "report.md", "results.md", "scaling.md", "training.md", "wandb.md"}
RUNNABLE = {page: [b for b in blocks(page) if b.runs] for page in PAGES}


@pytest.fixture
def scratch(tmp_path, tmp_path_factory, monkeypatch, no_figures):
    """An empty folder, outputs 100 columns wide, and `dhmd reproduce` training in this process; what a page exports or loads goes again."""
    environment, modules = dict(os.environ), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reproduce, "_call", lambda command: in_process(list(command[3:]))[0])
    monkeypatch.setattr(reproduce, "_launcher", lambda gpus: ["trainer.accelerator=cpu"])
    os.environ |= {"COLUMNS": "100", "WANDB_MODE": "offline", "DHMD_CACHE": str(tmp_path_factory.getbasetemp() / "cache")}
    yield tmp_path
    os.environ.clear()
    os.environ.update(environment)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


FAST = [p for p in PAGES if p.name not in SLOW and any(b.mark != "slow" for b in RUNNABLE[p])]
WHOLE = [p for p in PAGES if p.name in SLOW or any(b.mark == "slow" for b in RUNNABLE[p])]


@pytest.mark.parametrize("page", FAST, ids=lambda p: p.name)
def test_the_page_does_what_it_says(page, scratch):
    runner = Runner()
    for block in RUNNABLE[page]:
        if block.mark != "slow":
            runner.run(block)


@pytest.mark.slow
@pytest.mark.parametrize("page", WHOLE, ids=lambda p: p.name)
def test_the_page_with_its_slow_blocks_does_what_it_says(page, scratch):
    runner = Runner()
    for block in RUNNABLE[page]:
        runner.run(block)
