"""Keys that configurations no longer have: refused on the command line, dropped from the configurations of earlier runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dhmd.errors import UsageError

SEEDS = "was removed; seeds run side by side with `dhmd train -m seed=1111,1112,... launcher=process hydra.launcher.n=N`"
REMOVED: Mapping[str, tuple[Any, str]] = {"trainer.replicas": (1, SEEDS), "trainer.beside": (None, SEEDS)}
"""By key, the one value that earlier runs recorded, and a message for any other."""


def without_removed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without the keys in `REMOVED`.

    Raises:
        UsageError: such a key has another value than earlier runs recorded.
    """
    found = dict(config)
    for key, (recorded, message) in REMOVED.items():
        group, _, name = key.partition(".")
        node = found.get(group)
        if not isinstance(node, Mapping) or name not in node:
            continue
        if node[name] != recorded or isinstance(node[name], bool):
            raise UsageError(f"{key}: found {node[name]!r}, but the key {message}")
        found[group] = {k: v for k, v in node.items() if k != name}
    return found
