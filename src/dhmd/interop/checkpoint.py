"""Reading of the DMD authors' checkpoint files without running code in them."""

from __future__ import annotations

import pickle  # only its exception is used; torch reads the file, weights only
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dhmd.errors import data_error

UNITS = ("homo_gd.", "hetero_gd.")
WANTED = "a state_dict of the DMD authors' network, alone, under the key state_dict, or in a list with those of its two units"


def read_authors(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a checkpoint file by the authors' names.

    The authors save the network's ``state_dict``. Other accepted forms are ``{"state_dict": ...}`` and a list of three state_dicts in the
    order of the authors' model list: the network, the homogeneous and the heterogeneous graph distillation unit.

    Args:
        path: the file, as ``torch.save`` wrote it.

    Raises:
        DataError: the file is missing, is no checkpoint, holds something other than arrays, or holds them in another form.
    """
    content = _load(path)
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, list | tuple):
        return _arrays(content, path, "")
    if len(content) != 1 + len(UNITS):
        found = f"a {type(content).__name__} of {len(content)}"
        raise data_error(path, "", found=found, expected=WANTED, do="save the list [network, homogeneous unit, heterogeneous unit]")
    parts = [_arrays(part.get("state_dict", part) if isinstance(part, Mapping) else part, path, f"[{i}]") for i, part in enumerate(content)]
    named = {f"{prefix}{name}": x for prefix, part in zip(UNITS, parts[1:], strict=True) for name, x in part.items()}
    return {**parts[0], **named}


def _load(path: Path) -> Any:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        do = "name the .pth file that the authors' code saved"
        raise data_error(path, "", found=f"no file that can be read ({error.strerror})", expected=WANTED, do=do) from None
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise data_error(
                path,
                "",
                found=f"a pickle that imports {named[1]}, which could run any code when read; nothing of it was run",
                expected=f"{WANTED}, made of arrays only",
                do="if you trust its origin, load it where the authors' code is installed and save model.state_dict() instead of the model",
            ) from None
        raise _not_one(path, error) from None
    except Exception as error:  # torch has no class for the error of a damaged file
        raise _not_one(path, error) from None


def _not_one(path: Path, error: Exception) -> Exception:
    first = next((line for line in str(error).splitlines() if line.strip()), "no message")
    return data_error(
        path,
        "",
        found=f"{path.stat().st_size} bytes that torch.load does not read ({type(error).__name__}: {first[:150]})",
        expected=WANTED,
        do="compare its size with that of the source and copy it again",
    )


def _arrays(content: Any, path: Path, where: str) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise data_error(path, where, found=f"a {type(content).__name__}", expected=WANTED, do="save model.state_dict()")
    if odd := next((str(k) for k, v in content.items() if not isinstance(v, Tensor)), None):
        raise data_error(
            path,
            f"{where}{odd}"[:80],
            found=f"a {type(content[odd]).__name__}" if odd in content else "no array",
            expected=WANTED,
            do="save model.state_dict(), or put it under the key state_dict",
        )
    return {str(name): x for name, x in content.items()}
