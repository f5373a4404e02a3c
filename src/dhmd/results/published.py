"""Published numbers as data, read from conf/published; only numbers verified in their source are returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dhmd.config import conf_dir
from dhmd.errors import UsageError
from dhmd.evaluation.metrics import LABELS

PUBLISHED_LABELS = {**LABELS, "acc2_unstated": "ACC2 (convention unstated)", "f1_unstated": "F1 (convention unstated)"}
"""Printed name of each metric; papers often do not say which ACC2 they print."""

_ROW_FIELDS = {"method", "aligned", "source", "verified", "values"}
_GAIN_FIELDS = {"method", "source", "reference", "verified", "values"}


@dataclass(frozen=True)
class PublishedRow:
    """A method's numbers in one source.

    Attributes:
        method: name of the method.
        data: "mosi" or "mosei".
        aligned: whether features are word-aligned; None if the source does not say.
        values: numbers by metric key, digits as printed, shares in percent.
        source: document in which the numbers are printed.
        confidence: "paper", "authors, outside the paper", or a third party's copy or rerun.
    """

    method: str
    data: str
    aligned: bool | None
    values: Mapping[str, str]
    source: str
    confidence: str


@dataclass(frozen=True)
class RelativeGains:
    """Gains that a paper states over a reference; ``reference`` names it, or says that the paper does not."""

    method: str
    data: str
    values: Mapping[str, str]
    source: str
    reference: str


def published_rows(data: str, *, method: str | None = None, aligned: bool | None = None, folder: Path | None = None) -> list[PublishedRow]:
    """Return the verified rows of a data set, in the order of the file.

    Args:
        data: "mosi" or "mosei"; another name has no rows.
        method: name of the only method to return; None for all.
        aligned: alignment that the source must state; None for all rows.
        folder: folder of the files; the project's conf/published by default.

    Raises:
        UsageError: a file does not have the layout described in conf/published/mosi.yaml.
    """
    path = (folder or conf_dir() / "published") / f"{data}.yaml"
    content = _read(path)
    rows = []
    for i, row in enumerate(content.get("rows", [])):
        where = f"rows[{i}]"
        _check(path, where, row, _ROW_FIELDS)
        source = content.get("sources", {}).get(row["source"])
        if not isinstance(source, dict) or set(source) != {"text", "confidence"}:
            raise UsageError(f"{path}: {where}.source: found {row['source']!r}, expected a key of `sources` with text and confidence")
        if row["verified"] and method in (None, row["method"]) and aligned in (None, row["aligned"]):
            rows.append(PublishedRow(row["method"], data, row["aligned"], row["values"], source["text"], source["confidence"]))
    return rows


def relative_gains(data: str, *, folder: Path | None = None) -> RelativeGains | None:
    """Return the gains that DHMD's paper states for a data set, if verified.

    Raises:
        UsageError: the file does not have the layout described in conf/published/mosi.yaml.
    """
    path = (folder or conf_dir() / "published") / f"{data}.yaml"
    gains = _read(path).get("relative_gains")
    if gains is None:
        return None
    _check(path, "relative_gains", gains, _GAIN_FIELDS)
    return RelativeGains(gains["method"], data, gains["values"], gains["source"], gains["reference"]) if gains["verified"] else None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(content, dict):
        raise UsageError(f"{path}: found a {type(content).__name__}, expected a mapping with data, sources and rows")
    return {str(key): value for key, value in content.items()}


def _check(path: Path, where: str, row: Any, fields: set[str]) -> None:
    """Check that a row has exactly its fields, that ``verified`` is explicit, and that digits are text."""
    if not isinstance(row, dict) or set(row) != fields:
        found = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise UsageError(f"{path}: {where}: found {found}, expected {sorted(fields)}")
    if not isinstance(row["verified"], bool):
        raise UsageError(f"{path}: {where}.verified: found {row['verified']!r}, expected true or false")
    for key, value in row["values"].items():
        if key not in PUBLISHED_LABELS or not isinstance(value, str):
            raise UsageError(
                f"{path}: {where}.values.{key}: found {value!r}, expected digits in quotes under one of {sorted(PUBLISHED_LABELS)}"
            )
