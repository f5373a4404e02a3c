"""Freed memory is kept for the next step."""

import os
import platform
import subprocess
import sys

import pytest

from dhmd.training.allocator import keep_freed_memory

FAULTS = """
import resource, sys, torch
from dhmd.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for i in range(30):
    if i == 20:  # by then each has found its place
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x = torch.ones(20_000_000)  # 80 MB, which glibc by itself never keeps
    del x
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, env=environment)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_arrays_are_fetched_once():
    assert faults("keep") < faults("leave") / 10


TRIMMED = """
import resource, torch
from dhmd.training.allocator import freed_memory_kept
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before = resident()
with freed_memory_kept():
    del [torch.ones(20_000_000) for _ in range(10)][:]
    kept = resident() - before
print(kept > 600, resident() - before < 200)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_it_is_handed_back_at_the_end():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    run = subprocess.run([sys.executable, "-c", TRIMMED], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.split() == ["True", "True"]


def test_what_the_environment_says_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    assert keep_freed_memory() is False
