"""Environment of a run: versions, platform, threads, devices, commit of the working folder, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from dhmd.extensions import described

PACKAGES = (
    "dhmd",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
    "scipy",
    "h5py",
    "transformers",
    "wandb",
)


def environment() -> tuple[dict[str, Any], str]:
    """The environment, JSON-able, and the command line of this process."""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "devices": devices,
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _commit(),
        "extensions": described(),
    }
    return found, shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> dict[str, Any] | None:
    """Commit of the working folder's repository and whether it has changes; None outside one."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return None if not commit else {"commit": commit, "changed": bool(git("status", "--porcelain", "--untracked-files=no"))}
