"""Print the closing line of .ci/run: ``summary.py REPORTS STEPS_PASSED STEPS_FAILED``."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def main() -> None:
    """Count tests in the reports and add the steps."""
    passed, failed, skipped = int(sys.argv[2]), int(sys.argv[3]), 0
    for report in Path(sys.argv[1]).glob("*.xml"):
        for suite in ElementTree.parse(report).iter("testsuite"):  # noqa: S314  # written by pytest a moment ago
            tests, bad, out = (int(suite.get(key, 0)) for key in ("tests", "failures", "skipped"))
            bad += int(suite.get("errors", 0))
            passed, failed, skipped = passed + tests - bad - out, failed + bad, skipped + out
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


if __name__ == "__main__":
    main()
