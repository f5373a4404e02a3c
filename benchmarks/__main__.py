"""The command ``python -m benchmarks``: measure, write results.json, print the tables. ``make bench`` and ``make bench-quick`` call it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from benchmarks.clock import machine, use_threads
from benchmarks.record import DOCUMENTS, RESULTS, ROOT, SECTIONS, read, text, update_documents, write
from benchmarks.settings import QUICK, Settings
from dhmd.training.allocator import keep_freed_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the sections that the command line names."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="the suite beside a plain implementation of the same mathematics")
    parser.add_argument("--quick", action="store_true", help="small and few: shows that everything runs; writes no numbers")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections (default: all); others stay as they are"
    )
    parser.add_argument("--tables", action="store_true", help="measure nothing: write the documents' tables from results.json")
    options = parser.parse_args(arguments)
    if options.tables:
        update_documents(read(RESULTS))
        return 0
    use_threads()
    keep_freed_memory()  # for both implementations, as in training
    settings = QUICK if options.quick else Settings()
    earlier = read(RESULTS) if RESULTS.is_file() and not options.quick else {}
    sections: dict[str, Any] = dict(earlier.get("sections", {}))
    for name in options.only:
        if reason := getattr(SECTIONS[name], "missing", str)():
            print(f"{name}: not measured, {reason}", file=sys.stderr, flush=True)
            continue
        start = time.perf_counter()
        found = SECTIONS[name].measure(settings)
        when = datetime.now(timezone.utc).date().isoformat()
        sections[name] = {"machine": machine(), "date": when, "quick": options.quick, "found": found}
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        if not options.quick:
            write(RESULTS, sections)  # written after every section: an interrupted run keeps its results
    print(text(sections))
    if not options.quick:
        update_documents(read(RESULTS))
        print(f"\nwritten: {', '.join(str(file.relative_to(ROOT)) for file in (RESULTS, *DOCUMENTS))}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
