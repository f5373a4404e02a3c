"""Extensions: a user's own code, as files or modules named in the environment variable ``DHMD_EXTENSIONS``.

A configuration, a checkpoint or a data file can never load code by itself; it can only use the extensions that the user has named.
Several extensions are separated as in ``PATH``. A file ``my_losses.py`` becomes the module ``my_losses``; names defined in it (not names
that it imports) can be a ``_target_``, and its layouts are known to the data tools.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from dhmd.errors import UsageError

VARIABLE = "DHMD_EXTENSIONS"


def extensions() -> tuple[ModuleType, ...]:
    """Return the modules that ``DHMD_EXTENSIONS`` names, each imported once.

    Raises:
        UsageError: one is missing, cannot be imported, or has the name of another module.
    """
    entries = [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    return tuple(_load(str(Path(e).expanduser().absolute()) if e.endswith(".py") else e) for e in entries)


def definitions() -> Iterator[tuple[str, Any]]:
    """Return every public class and function that an extension defines, as ("module.name", object)."""
    for module in extensions():
        for name, value in vars(module).items():
            if not name.startswith("_") and callable(value) and getattr(value, "__module__", None) == module.__name__:
                yield f"{module.__name__}.{name}", value


def described() -> dict[str, dict[str, str | None]]:
    """Return the file and SHA-256 of each extension by module name, for records."""
    found = {}
    for module in extensions():
        file = getattr(module, "__file__", None)
        found[module.__name__] = {"file": file, "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None}
    return found


@cache
def _load(entry: str) -> ModuleType:
    path = Path(entry)
    try:
        if path.suffix == ".py":
            return _from_file(path)
        return import_module(entry)
    except UsageError:
        raise
    except Exception as error:  # a user's file may raise anything while it is imported
        found = f"{entry}{_line_of(error, path)}: {type(error).__name__}: {error}"
        raise UsageError(f"{VARIABLE}: {found}; expected a Python file or module that can be imported") from error


def _from_file(path: Path) -> ModuleType:
    name = path.stem
    if not path.is_file():
        raise UsageError(f"{VARIABLE}: {path}: no such file; expected a Python file, or the name of an installed module")
    if not name.isidentifier():
        raise UsageError(f"{VARIABLE}: {path}: found the name {name!r}, expected letters, digits and _; rename the file")
    if (there := _file_of(name)) == str(path) and name in sys.modules:
        return sys.modules[name]
    if there not in (None, str(path)):
        raise UsageError(f"{VARIABLE}: {path}: there is another module {name!r} ({there}); rename the file")
    loader = SourceFileLoader(name, str(path))
    module = module_from_spec(spec_from_loader(name, loader))  # type: ignore[arg-type]  # a file has a spec
    sys.modules[name] = module  # dataclasses and pickling to workers look the module up here
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file_of(name: str) -> str | None:
    """Return the file of the module of that name; None if there is none."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) or "built in"
    spec = find_spec(name)
    return None if spec is None else spec.origin or "a folder"


def _line_of(error: BaseException, path: Path) -> str:
    """Return the last line of the extension that was executing, as text."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    trace, line = error.__traceback__, 0
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).name == path.name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""
