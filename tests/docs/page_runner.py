"""Pages as programs: the console and Python blocks of a page, run in order in one folder, their output compared (see README.md here)."""

import doctest
import glob
import io
import logging
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from dhmd.app import WITH_VALUE, compose
from dhmd.cli import main
from dhmd.errors import DhmdError

RUN = ("console", "python")
FILE = re.compile(r"(?:# @package _global_\n)?# ([\w/.-]+\.(?:py|yaml|csv))\n")  # a block that begins so is that file
SHOWN = ("text", "yaml", "csv", "json", "bibtex", "{include}", "{toctree}", "{dhmd-help}", "{automodule}", "{eval-rst}")
FENCE = re.compile(r"^(`{3,})(\S*)\s*(.*)$")
MARK = re.compile(r"^<!-- (skip|slow)(?:: *(.*?))? *-->$")
SETUP = re.compile(r"^<!-- setup (console|python)$")
CONTINUES = re.compile(r"resume=(?!true$|false$)", re.IGNORECASE)  # with the configuration of the run it names
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# What makes a training take a second: added where the configuration has the key and the page does not set it; of epochs two at most.
SMALL = {
    "data.synthetic.n_train": 24,
    "data.synthetic.n_valid": 10,
    "data.synthetic.n_test": 10,
    "data.synthetic.length": 12,
    "model.width": 8,
    "model.heads": 2,
    "model.layers": 1,
    "model.kernels": 3,
    "model.homogeneous.dictionary.entries": 16,
    "model.heterogeneous.dictionary.entries": 16,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
    "logger": "none",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: its file.
        line: where its text begins, from 1.
        language: the fence's info string.
        text: the lines between the fences.
        mark: "" runs, "slow" runs in the slow suite only, "skip" does not run, "setup" runs and is not shown.
        reason: why a marked block is marked.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    reason: str = ""

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def runs(self) -> bool:
        """True if it does something, if only by being a file."""
        return self.mark != "skip" and (self.language in RUN or FILE.match(self.text) is not None)


@dataclass(frozen=True)
class Command:
    """A ``$`` line and the output below it."""

    line: int
    text: str
    expected: str

    @property
    def words(self) -> list[str]:
        """The command split as a shell does, without comments; patterns are replaced by the files they match."""
        found = []
        for word in shlex.split(self.text, comments=True):
            found += (sorted(glob.glob(word)) or [word]) if "*" in word else [word]
        return found

    @property
    def is_dhmd(self) -> bool:
        """True if it is ours and runs in this process."""
        return Path(self.text.split()[0]).name == "dhmd"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks and hidden setups of a page, in order.

    Raises:
        ValueError: a mark has no reason, a fence is open, or a block shows commands without being a console block.
    """
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    mark, reason, i = "", "", 0
    while i < len(lines):
        line = lines[i]
        fence, setup, marked = FENCE.match(line), SETUP.match(line), MARK.match(line)
        if fence or setup:
            end = fence[1] if fence else "-->"
            stop = next((j for j in range(i + 1, len(lines)) if lines[j].rstrip() == end), None)
            if stop is None:
                raise ValueError(f"{page.name}:{i + 1}: no line {end!r} closes it")
            language, how = (fence[2], mark) if fence else (setup[1] if setup else "", "setup")
            block = Block(page, i + 2, language, "\n".join(lines[i + 1 : stop]), how, reason)
            _check(block)
            found.append(block)
            mark, reason, i = "", "", stop
        elif marked:
            if not marked[2]:
                raise ValueError(f"{page.name}:{i + 1}: {marked[1]} without a reason; write <!-- {marked[1]}: why -->")
            mark, reason = marked[1], marked[2]
        elif line.strip() and mark:
            raise ValueError(f"{page.name}:{i + 1}: the mark {mark!r} above is not followed by a block")
        i += 1
    return found


def _check(block: Block) -> None:
    shows_commands = re.search(r"^\s*(\$ |dhmd )", block.text, re.MULTILINE)
    if block.language == "console":
        if not block.text.startswith("$ "):
            raise ValueError(f"{block.where}: a console block begins with '$ ' and a command")
    elif block.language not in (*RUN, *SHOWN, ""):
        raise ValueError(f"{block.where}: a block of {block.language!r}; expected one of {', '.join((*RUN, *SHOWN))}")
    elif shows_commands and block.language in ("", "text"):
        raise ValueError(f"{block.where}: commands are shown in a console block, where they are run")


def commands(block: Block) -> list[Command]:
    """The commands of a console block with their expected output; a line that ends in a backslash goes on in the next."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if found and not found[-1].expected and found[-1].text.endswith("\\"):
            found[-1] = Command(found[-1].line, found[-1].text[:-1].rstrip() + " " + line.removeprefix("> ").strip(), "")
        elif line.startswith("$ "):
            found.append(Command(number, line[2:].strip(), ""))
        else:
            found[-1] = Command(found[-1].line, found[-1].text, found[-1].expected + line + "\n")
    return found


@dataclass
class Runner:
    """Runs blocks in the current folder; the names of Python blocks are shared."""

    names: dict[str, object] = field(default_factory=lambda: {"__name__": "page"})

    def run(self, block: Block) -> None:
        """Run one block.

        Raises:
            AssertionError: output or exit status are not those the page shows.
        """
        if named := FILE.match(block.text):
            Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(named[1]).write_text(block.text + "\n", encoding="utf-8")
        elif block.language == "console":
            for command in commands(block):
                self._command(block, command)
        elif ">>>" in block.text:
            self._examples(block)
        elif block.language == "python":
            with redirect_stdout(io.StringIO()):
                exec(compile("\n" * (block.line - 1) + block.text, str(block.page), "exec"), self.names)  # noqa: S102  # our own pages

    def _examples(self, block: Block) -> None:
        examples = doctest.DocTestParser().get_doctest(block.text, self.names, block.page.name, str(block.page), block.line - 1)
        said: list[str] = []
        failed = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(examples, out=said.append, clear_globs=False).failed
        self.names.update(examples.globs)
        assert not failed, "".join(said)

    def _command(self, block: Block, command: Command) -> None:
        if command.text.startswith("export "):
            os.environ.update(word.split("=", 1) for word in command.words[1:])
            return
        status, output = in_process(command.words[1:]) if command.is_dhmd else in_shell(command.text)
        where = f"{block.page.name}:{command.line}: $ {command.text}"
        must_fail = re.search(r"^dhmd: ", command.expected, re.MULTILINE) is not None
        assert bool(status) == must_fail, f"{where}\nexit status {status}, its output:\n{output}"
        if command.expected.startswith("dhmd: "):  # what was logged before is no part of the message
            output = output[output.find("dhmd: ") if output.startswith("dhmd: ") else output.find("\ndhmd: ") + 1 :]
        if command.expected.strip():
            example = doctest.Example(command.text, command.expected)
            checker = doctest.OutputChecker()
            fits = checker.check_output(command.expected, output, FLAGS)
            assert fits, f"{where}\n{checker.output_difference(example, output, FLAGS)}"


def in_process(arguments: list[str]) -> tuple[int, str]:
    """``dhmd ARGUMENTS`` in this process, trainings made small; its exit status and all it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed), logging_as_before():
        try:
            status = main([*arguments, *small_overrides(arguments)])
        except SystemExit as end:  # argparse's
            status = int(end.code or 0)
    return status, printed.getvalue()


def in_shell(text: str) -> tuple[int, str]:
    """Another command; the folder of this interpreter's scripts comes first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", text], env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return done.returncode, done.stdout


def small_overrides(arguments: list[str]) -> list[str]:
    """Options added to a training so that it takes a second: those of SMALL that its configuration has and that are not typed."""
    overrides = [a for a in arguments[1:] if "=" in a and not a.startswith("-")]
    only_prints = (
        any(a in WITH_VALUE or a in ("--help", "--hydra-help", "--version") for a in arguments) and "--config-dir" not in arguments
    )
    if arguments[:1] != ["train"] or only_prints or any(CONTINUES.match(o) for o in overrides):
        return []
    own = Path(arguments[arguments.index("--config-dir") + 1]) if "--config-dir" in arguments else None
    try:
        cfg = compose([*map(_one_value, overrides), "run_dir=."], own)
    except DhmdError:  # the page shows what is said of a wrong command
        return []
    typed = {o.partition("=")[0].lstrip("+~") for o in overrides} - {"trainer.max_epochs"}
    small = {**SMALL, "trainer.max_epochs": min(cfg.trainer.max_epochs, SMALL["trainer.max_epochs"])}
    return [f"{k}={v}" for k, v in small.items() if k not in typed and OmegaConf.select(cfg, k) is not None]


def _one_value(override: str) -> str:
    """First of a sweep's values, which is enough to see what keys there are."""
    key, _, value = override.partition("=")
    return override if value[:1] in "[{'\"" else f"{key}={value.partition(',')[0]}"


class logging_as_before:
    """Hydra configures logging for a process that ends; here many commands run in one."""

    def __enter__(self) -> None:
        self.root = logging.getLogger()
        self.handlers, self.level = list(self.root.handlers), self.root.level
        self.root.handlers.clear()  # a command begins without any, unlike a test

    def __exit__(self, *_: object) -> None:
        self.root.handlers[:] = self.handlers
        self.root.setLevel(self.level)
        for logger in (logging.getLogger(name) for name in logging.root.manager.loggerDict):
            logger.disabled = False
