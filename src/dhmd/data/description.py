"""Description of a data set in plain values, for the record of a run."""

from __future__ import annotations

from typing import Any

from dhmd.batch import FeatureSpec
from dhmd.data.catalog import identify
from dhmd.data.store.reader import Store
from dhmd.data.store.resplit import ResplitStore


def describe(store: Store, spec: FeatureSpec) -> dict[str, Any]:
    """Return the source, splits, modalities and non-finite values of a store as a run uses it."""
    published = identify(store.source_sha256)
    return {
        "synthetic": store.synthetic,
        "store": str(store.path),
        "source": {"name": store.source_name, "size": store.source_size, "sha256": store.source_sha256},
        "layout": store.layout,
        "published_as": published.name if published else None,
        "splits": store.description if isinstance(store, ResplitStore) else "as in the file",
        "samples": {s: store.size(s) for s in store.splits},
        "modalities": {m: {"key": store.keys[m], "dim": spec.dims[m], "length": spec.lengths[m]} for m in store.modalities},
        "aligned": spec.aligned,
        "task": spec.task,
        "n_classes": spec.n_classes,
        "non_finite": {
            "values": {s: {m: v for m, (v, _) in store.non_finite(s).items()} for s in store.splits},
            "frames": {s: {m: f for m, (_, f) in store.non_finite(s).items()} for s in store.splits},
        },
    }
