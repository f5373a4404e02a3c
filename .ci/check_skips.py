"""Fail when a test was skipped that .ci/allowed_skips.txt does not name: ``check_skips.py REPORTS ALLOWED``."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def skipped(reports: Path) -> dict[str, str]:
    """Name and reason of every skipped test."""
    found = {}
    for report in sorted(reports.glob("*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  # written by pytest a moment ago
            skip = case.find("skipped")
            if skip is not None:
                found[f"{case.get('classname')}::{case.get('name')}"] = skip.get("message", "")
    return found


def main() -> int:
    """Print what was skipped without leave."""
    reports, allowed = map(Path, sys.argv[1:3])
    lines = [line for line in allowed.read_text().splitlines() if line.strip() and not line.startswith("#")]
    if bad := [line for line in lines if not line.partition(": ")[2].strip()]:
        print(f"{allowed}: no reason given: {bad}")
        return 1
    names = [line.partition(": ")[0].strip() for line in lines]
    unexplained = {test: why for test, why in skipped(reports).items() if not any(name in test for name in names)}
    for test, why in unexplained.items():
        print(f"skipped without leave: {test} ({why})")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
