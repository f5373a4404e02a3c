"""Description of a data set in plain values, for the record of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dhmd.data.catalog import identify
from dhmd.data.store.resplit import ResplitStore

if TYPE_CHECKING:
    from dhmd.data.module import FeatureDataModule


def describe(data: FeatureDataModule) -> dict[str, Any]:
    """Return name, source, splits, modalities and non-finite values of a data set as a run uses it, in values that JSON can hold."""
    store, spec = data.store, data.spec
    published = identify(store.source_sha256)
    return {
        "name": data.name,
        "path": None if data.path is None else str(data.path),
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
            "policy": data.non_finite,
            "values": {s: {m: v for m, (v, _) in store.non_finite(s).items()} for s in store.splits},
            "frames": {s: {m: f for m, (_, f) in store.non_finite(s).items()} for s in store.splits},
        },
        "label_range": list(data.label_range),
        "standardised": data.standardisation.scaling is not None,
        "tokens": data.has_tokens,
        "warnings": list(data.warnings),
    }
