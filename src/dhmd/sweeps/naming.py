"""Names of sweeps and jobs, made from their overrides: the same command finds its folders again, and no two jobs share one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from dhmd.runs.identity import key_of_override

LONGEST = 120  # characters of a folder's name; file systems allow 255 bytes


def job_name(varying: Sequence[str], overrides: Sequence[str]) -> str:
    """Return the folder of a job: ``key-value`` of everything that varies in its sweep, in the sweep's order.

    If a value holds anything but letters, digits, ``_``, ``.`` and ``+``, or the name is too long, a digest makes the name unique.

    Args:
        varying: keys that take several values in the sweep.
        overrides: overrides of the job, "key=value".
    """
    values = dict(o.split("=", 1) for o in overrides)
    raw = [f"{key}={values[key]}" for key in varying if key in values]
    if not raw:
        return "job"
    name = ",".join(f"{_plain(_last(key, varying))}-{_plain(value)}" for key, _, value in (item.partition("=") for item in raw))
    exact = all(re.fullmatch(r"[\w.+]+", item.partition("=")[2], re.ASCII) for item in raw)
    return name if exact and len(name) <= LONGEST else f"{name[:LONGEST]}-{_digest(raw)}"


def sweep_name(study: str | None, varying: Sequence[str], overrides: Iterable[str]) -> str:
    """Return the folder of a sweep: its study, or its varying keys, and a digest of everything that defines the sweep.

    Args:
        study: name of a file of conf/sweep; None without one.
        varying: keys that take several values.
        overrides: overrides of the whole sweep, as typed.
    """
    kept = sorted(o for o in overrides if key_of_override(o).names_sweep)
    head = study or ",".join(_plain(_last(key, varying)) for key in varying) or "jobs"
    return f"{head[:LONGEST]}-{_digest([study or '', *kept])}"


CONFIG_FLAGS = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")


def hydra_flags(arguments: Sequence[str]) -> list[str]:
    """Return the flags of a command line that set the source of configurations, each as one word ``flag=value``."""
    found = []
    for i, argument in enumerate(arguments):
        flag, given, value = argument.partition("=")
        if flag in CONFIG_FLAGS:
            found.append(f"{flag}={value if given else ''.join(arguments[i + 1 : i + 2])}")
    return found


def quoted(value: object) -> str:
    """Return a value quoted so that Hydra's overrides accept any text."""
    # backslashes are doubled before a quote, including the closing one
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), str(value))
    return f"'{escaped}'"


def _last(key: str, all_keys: Sequence[str]) -> str:
    """Return the last part of a key, or the whole key if another key has the same last part."""
    short = key.rpartition(".")[2]
    return key if [k.rpartition(".")[2] for k in all_keys].count(short) > 1 else short


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+]+", "_", text, flags=re.ASCII).strip("_") or "_"


def _digest(items: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(items).encode()).hexdigest()[:8]
