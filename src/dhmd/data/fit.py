"""Whether features fit a checkpoint, and which features it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dhmd.data.catalog import identify
from dhmd.data.problem import problem
from dhmd.data.store import Store


def feature_set(store: Store, name: str) -> dict[str, Any]:
    """What a checkpoint remembers of the features it was trained on, in plain values.

    Args:
        store: of the features.
        name: of the data set.
    """
    published = identify(store.source_sha256)
    return {
        "name": str(name),
        "file": store.source_name,
        "published_as": published.name if published else "",
        "modalities": list(store.modalities),
        "dims": dict(store.dims),
    }


def check_fit(store: Store, path: Path | str, trained_on: Mapping[str, Any]) -> None:
    """Refuse features of other modalities or widths than a checkpoint was trained on.

    Args:
        store: of the features at hand.
        path: the file to name in messages.
        trained_on: of the checkpoint, as `feature_set` made it; ``dims`` alone suffices.

    Raises:
        DataError: they do not fit; the message names the feature set that does.
    """
    found, expected = store.dims, dict(trained_on["dims"])
    if found == expected and list(store.modalities) == list(trained_on.get("modalities", expected)):
        return
    file = trained_on.get("published_as") or trained_on.get("file")
    which = f", the features of {trained_on['name']} ({file}), on which it was trained" if "name" in trained_on else ""
    raise problem(
        path,
        "",
        found=f"features that do not fit the checkpoint: widths {found}",
        expected=f"widths {expected}{which}",
        do="give features of that set, or train on these",
    )
