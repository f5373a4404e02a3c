"""Published feature files, identified by their SHA-256."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class PublishedFile:
    """One published feature file.

    Attributes:
        name: name as in conf/data, for example ``mosi_aligned``.
        dataset: the data set it is made from.
        file: its usual path.
        sha256: SHA-256 of the file.
        source: the document in which the hash is printed.
    """

    name: str
    dataset: str
    file: str
    sha256: str
    source: str


@cache
def published_files() -> dict[str, PublishedFile]:
    """Return all known files by name."""
    table = yaml.safe_load(files("dhmd.data").joinpath("published.yaml").read_text(encoding="utf-8"))
    return {name: PublishedFile(name, **row) for name, row in table.items()}


def identify(sha256: str) -> PublishedFile | None:
    """Return the published file with this SHA-256, or None."""
    return next((f for f in published_files().values() if f.sha256 == sha256.lower()), None)


def which_file(name: str, expects: str | None) -> str:
    """Return the message for a data set whose file is not named.

    Args:
        name: name of the data set.
        expects: name of the published file that is expected, if any.
    """
    wanted = "a feature pickle with the splits train, valid and test, or a folder of npy files with a csv (docs/data.md)"
    if expects is not None:
        file = published_files()[expects]
        wanted = f"{file.file} of {file.dataset}, SHA-256 {file.sha256} (source: {file.source})"
    do = "data.path=/folder/file.pkl" if expects else "data.path=/folder/file.pkl or data.path=/folder"
    return (
        f"data.path: no feature file is named for data={name}\n  found:      nothing\n  expected:   {wanted}\n"
        f"  what to do: {do}, or data=demo for the embedded synthetic corpus"
    )
