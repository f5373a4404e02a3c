"""JSON files that hold an object, with errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dhmd.errors import RunError


def read_object(path: Path, missing: str, wrong: str) -> dict[str, Any]:
    """The object in a file.

    Args:
        path: the file.
        missing: what to do where there is none.
        wrong: what to do where it holds something else.

    Raises:
        RunError: the file is missing or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; {missing}") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); {wrong}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: found a {type(content).__name__}, expected an object; {wrong}")
    return content
