"""The file results.json, sealed so that an edited number is found, and the tables made of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.sections import attention, data, gpu, kernels, lengths, precision, profile, start, steps
from dhmd.errors import RunError
from dhmd.files import write_text
from dhmd.results.markers import check_between_markers, update_between_markers

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results.json")
SECTIONS: dict[str, ModuleType] = {
    "steps": steps,
    "profile": profile,
    "lengths": lengths,
    "attention": attention,
    "kernels": kernels,
    "gpu": gpu,
    "precision": precision,
    "data": data,
    "start": start,
}
MARKER = "bench"
DOCUMENTS = {ROOT / "docs" / "performance.md": tuple(SECTIONS)}
"""Sections whose tables are in each document, between ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``."""


def write(path: Path, sections: dict[str, Any]) -> None:
    """Write sections with their digest."""
    write_text(path, json.dumps({"sections": sections, "sha256": _digest(sections)}, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return the content of a results.json.

    Raises:
        RunError: the file was edited.
    """
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content.get("sha256") != _digest(content["sections"]):
        raise RunError(f"{path}: a number was edited; measure again with `make bench`")
    return content


def text(sections: dict[str, Any]) -> str:
    """Return the tables of all measured sections, in their order."""
    return "\n\n".join(f"{SECTIONS[name].TITLE}\n\n{table(name, sections)}" for name in SECTIONS if name in sections)


def table(name: str, sections: dict[str, Any]) -> str:
    """Return a section's tables, and a line about the machine."""
    if name not in sections:
        return "Not measured."
    tables: str = SECTIONS[name].tables(sections[name]["found"])
    return f"{tables}\n\n{_measured_on(sections[name])}"


def update_documents(content: dict[str, Any]) -> None:
    """Write the tables into the documents that show them."""
    for document, names in DOCUMENTS.items():
        for name in names:
            update_between_markers(document, name, table(name, content["sections"]), MARKER)


def check_document(document: Path, names: Iterable[str], results: Path) -> None:
    """Check that a document's tables agree with results.json.

    Raises:
        RunError: a number was edited in either.
    """
    for name in names:
        check_between_markers(document, name, table(name, read(results)["sections"]), MARKER)


def _measured_on(section: dict[str, Any]) -> str:
    m = section["machine"]
    gpu = "".join(f", {name}" for name in m["devices"])
    quick = "; a quick form, whose numbers say nothing" if section["quick"] else ""
    return f"{section['date']}: {m['processor']}, {m['threads']} threads{gpu}, Python {m['python']}, torch {m['packages']['torch']}{quick}."


def _digest(sections: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()
