"""The command ``dhmd data``: its verbs parse, call and print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dhmd.data.tools.inspection import Inspection

SIZE_NAMES = ("demo", "mosi", "mosei")


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Add inspect, convert, verify and synth to the parser of ``dhmd data``; each sets ``run``."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    inspect = verbs.add_parser("inspect", help="say what is in a feature file: layout, shapes, labels, padding, faults, known or not")
    inspect.add_argument("file", metavar="FILE", type=Path, help="a pickle, a folder of npy files with a csv, or a store")
    _add_reading(inspect)
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=_inspect)

    convert = verbs.add_parser("convert", help="convert a feature file to a store, as training does by itself")
    convert.add_argument("file", metavar="FILE", type=Path, help="a pickle, or a folder of npy files with a csv")
    convert.add_argument("-o", "--output", metavar="STORE", type=Path, help="default: FILE.dhmd.h5")
    _add_reading(convert)
    convert.set_defaults(run=_convert)

    verify = verbs.add_parser("verify", help="compare a store with its checksums and its source")
    verify.add_argument("store", metavar="STORE", type=Path)
    verify.add_argument("--source", metavar="FILE", type=Path, help="what it was made from; default: its name beside the store")
    verify.set_defaults(run=_verify)

    synth = verbs.add_parser("synth", help="write the embedded synthetic corpus at any size")
    synth.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="NAME.pkl for a pickle, NAME.h5 for a store")
    synth.add_argument("--like", choices=SIZE_NAMES, default="demo", help="sizes of a data set (default: demo)")
    synth.add_argument("options", nargs="*", metavar="KEY=VALUE", help="as data.synthetic, for example n_train=5000 aligned=false seed=1")
    synth.set_defaults(run=_synth)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", metavar="NAME", help="its layout (default: seen from the content)")
    parser.add_argument("--modality", metavar="NAME=KEY", action="append", help="which key holds a modality; once each, in order")


def _keys(options: argparse.Namespace) -> dict[str, str] | None:
    from dhmd.errors import UsageError

    pairs = [m.partition("=") for m in options.modality or ()]
    if wrong := [name for name, _, key in pairs if not name or not key]:
        raise UsageError(f"--modality {wrong[0]}: expected NAME=KEY, for example --modality language=text")
    return {name: key for name, _, key in pairs} or None


def _inspect(options: argparse.Namespace) -> None:
    from dhmd.data.tools.inspection import inspect_file

    found = inspect_file(options.file, _keys(options), options.layout)
    print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if options.json else as_text(found))


def _convert(options: argparse.Namespace) -> None:
    from dhmd.data.convert import open_or_convert
    from dhmd.errors import UsageError

    store = open_or_convert(options.file, keys=_keys(options), layout=options.layout, output=options.output)
    if store == options.file.expanduser():
        raise UsageError(f"{store}: found a store, expected a pickle or a folder; there is nothing to convert")
    print(f"{store}  {megabytes(store.stat().st_size)}")


def _verify(options: argparse.Namespace) -> None:
    from dhmd.data.tools.verification import GENERATED, verify_store

    found = verify_store(options.store, options.source)
    print(f"{found.path}: whole, {megabytes(found.bytes_read)} of features agree with their checksums; {counts(found.samples)}")
    if found.source is not None:
        print(f"{found.source}: the same as when the store was made")
    elif found.source_name == GENERATED:
        print("the corpus was generated: there is no file to compare with")
    else:
        print(f"{found.source_name} is not beside it, so not compared; name it with --source FILE")


def _synth(options: argparse.Namespace) -> None:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from dhmd.data.synthetic.files import synthesise
    from dhmd.errors import UsageError

    try:
        given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(options.options))
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise UsageError(f"{' '.join(options.options)}: expected KEY=VALUE ({error})") from error
    used = synthesise(options.output, options.like, given)
    print(f"{options.output}  {megabytes(options.output.expanduser().stat().st_size)}; synthetic; {counts(used.sizes)}")


def as_text(found: Inspection) -> str:
    """Return the report as text."""
    lines = [
        ("file", f"{found.path} ({found.kind}, {megabytes(found.size)})"),
        ("layout", found.layout + (", synthetic" if found.synthetic else "")),
        ("sha256", found.sha256 + (" (of what the store was made from)" if found.kind == "store" else "")),
        ("verdict", found.verdict),
        ("samples", counts(found.samples) + (f"; videos {' / '.join(map(str, found.videos.values()))}" if found.videos else "")),
        ("frames", "aligned: as many in every modality" if found.aligned else "unaligned: every modality has its own number"),
    ]
    if found.labels is not None:
        lines.append(("labels", f"regression, from {found.labels[0]:g} to {found.labels[2]:g}, mean {found.labels[1]:.3f}"))
    if found.classes is not None:
        per_split = "; ".join(f"{s} {counts(c)}" for s, c in found.classes.items())
        lines.append(("classes", per_split))
    tokens = f"token ids (N, 3, {found.tokens})" if found.tokens is not None else "no token ids"
    lines.append(("text", f"{'texts' if found.texts else 'no texts'}, {tokens}"))
    rows = [("modality", "key", "(T, d)", "dtype", "padding", "real frames", "non-finite", "constant")]
    for name, m in found.modalities.items():
        holes = ", ".join(f"{n} in {s}" for s, n in m.non_finite.items() if n) or "none"
        still = "all: tells nothing" if m.constant else f"{m.frozen} of {m.width} features" if m.frozen else "none"
        frames = f"{m.frames[0]} to {m.frames[2]}, mean {m.frames[1]:.1f}"
        rows.append((name, m.key, f"({m.length}, {m.width})", m.dtype, m.padding, frames, holes, still))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"note: {note}" for note in found.notes]
    return "\n".join([*(f"{name:<8} {value}" for name, value in lines), "", *table, *([""] if notes else []), *notes])


def counts(numbers: Mapping[Any, int]) -> str:
    """Return numbers by name as one line of text."""
    return ", ".join(f"{name} {n}" for name, n in numbers.items())


def megabytes(size: int) -> str:
    """Return a number of bytes as text in megabytes."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
