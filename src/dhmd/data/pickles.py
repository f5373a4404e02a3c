"""Reading feature pickles without running what is in them.

A pickle is a program: it may import any function and call it. The files of this field need a handful of NumPy constructors, so exactly
these may be imported, each by its full name; everything else is refused before it is reached.
"""

from __future__ import annotations

import pickle  # the unpickler below refuses every import that is not listed
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from dhmd.data.problem import problem
from dhmd.errors import DataError

LAYOUT = "a pickled dict with the splits train, valid and test, as in the MMSA/Tsinghua feature files (aligned_50.pkl, unaligned_50.pkl)"


def _reconstruct(subtype: type, shape: tuple[int, ...], typecode: Any) -> Any:
    if subtype is not np.ndarray or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array must start empty and be a plain numpy.ndarray")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _frombuffer(buffer: Any, dtype: Any, shape: tuple[int, ...], order: Any, axis_order: Any = None) -> Any:
    array = np.frombuffer(buffer, dtype=dtype)
    if axis_order is not None:
        return array.reshape(shape).transpose(axis_order)
    return array.reshape(shape, order=order)


def _dtype(code: Any, align: Any = False, copy: Any = False) -> Any:
    # older NumPy wrote 0 and 1, at which newer NumPy warns
    return np.dtype(code, align=bool(align), copy=bool(copy))


def _scalar(dtype: Any, content: Any = None) -> Any:
    if isinstance(content, str):  # from Python 2
        content = content.encode("latin1")
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes):
        raise pickle.UnpicklingError("a NumPy scalar must have a plain dtype and bytes as content")
    return np.frombuffer(content, dtype=dtype, count=1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    # protocols 0 to 2 have no bytes and store them as text
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"codec {encoding!r} is not used by feature files")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}
"""The only names a pickle may import, by (module, name), and what each stands for here."""


class _RefusedGlobal(Exception):
    """The pickle wants to import something that is not listed."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise _RefusedGlobal(f"{module}.{name}") from None


def load(file: IO[bytes], path: Path) -> Any:
    """Unpickle ``file`` with the allow-list.

    Args:
        file: open binary file, at its start.
        path: its name, for messages.

    Returns:
        The content; its layout is not checked here.

    Raises:
        DataError: the pickle imports anything not in ``ALLOWED``, or is empty, truncated, or no pickle at all.
    """
    try:
        # latin1: arrays pickled by Python 2 hold their bytes in its str type
        return _Unpickler(file, encoding="latin1").load()
    except _RefusedGlobal as refused:
        raise problem(
            path,
            "",
            found=f"a pickle that imports {str(refused)[:200]!r}, which could run any code when read; nothing of it was run",
            expected="a pickle made of dicts, lists, strings, numbers and NumPy arrays only",
            do="do not load this file by other means unless you trust its origin; if you made it yourself, convert its values "
            "to NumPy arrays and lists (torch tensors with .numpy(), pandas columns with .to_numpy()) and pickle it again",
        ) from None
    except DataError:
        raise
    except Exception as error:
        # bytes that are no whole pickle can raise nearly anything
        raise problem(
            path,
            "",
            found=_describe_broken(file, error),
            expected=LAYOUT,
            do="compare its size and SHA-256 with those of the source and download or copy it again",
        ) from error


def _describe_broken(file: IO[bytes], error: Exception) -> str:
    size = file.seek(0, 2)
    if size == 0:
        return "an empty file"
    file.seek(0)
    is_pickle = file.read(1) in (b"\x80", b"(", b"}", b"]")
    kind = "a truncated or damaged pickle" if is_pickle else "a file that is not a pickle"
    return f"{kind} of {size} bytes (reading it ended with {type(error).__name__}: {str(error)[:200] or 'no message'})"
