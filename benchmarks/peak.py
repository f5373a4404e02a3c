"""Peak memory of a task, in a process that does nothing else: ``python -m benchmarks.peak MODULE ARGUMENT...``."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

CALLS = 2  # the second call has the optimizer's state in memory


def peak_of(module: str, *arguments: str) -> dict[str, float]:
    """Return the memory of a new process before and at most during ``MODULE.prepared(*arguments)()``, called twice; GB.

    Raises:
        RuntimeError: the process failed; its last lines are in the message.
    """
    command = [sys.executable, "-m", "benchmarks.peak", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)  # this module
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Do the work and print the memory it took."""
    from benchmarks.clock import resident_gb, use_threads

    use_threads()
    work = import_module(sys.argv[1]).prepared(*sys.argv[2:])
    before, _ = resident_gb()
    for _ in range(CALLS):
        work()
    print(json.dumps({"before_gb": before, "peak_gb": resident_gb()[1]}))


if __name__ == "__main__":
    main()
