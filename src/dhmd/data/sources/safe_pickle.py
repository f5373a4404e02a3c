"""Reading of feature pickles without running code in them.

A pickle is a program: it may import any function and call it. The files of this field need a handful of NumPy constructors, so exactly
these may be imported, each by its full name; everything else is refused before it is reached. The names stand for this module's own
classes, because NumPy's constructors accept any state without a check, and a damaged state can crash the process.
"""

from __future__ import annotations

import math
import os
import pickle  # the unpickler below refuses every import that is not listed
import re
from pathlib import Path
from typing import IO, Any

import numpy as np

from dhmd.data.progress import Reading, progress
from dhmd.data.sources.lazy_array import DiskArray, Extent
from dhmd.errors import DataError, data_error

LEAST = 1 << 20  # minimum bytes of an array that is left in the file
LAYOUT = "a pickled dict with the splits train, valid and test, as in the MMSA/Tsinghua feature files (aligned_50.pkl, unaligned_50.pkl)"


class _Unusable(Exception):
    """An array of a type that is harmless but not supported."""


class _Dtype:
    """A plain data type; only the byte order of its state is read."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if isinstance(code, str) and re.fullmatch(r"[<>|=]?([Mm]8|V\d{1,6})", code):
            raise _Unusable("an array of dates" if "8" in code and code[-2] in "Mm" else "an array of records (a structured data type)")
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|f1[26]|c8|c16|[US]\d{1,6}|O8?)", code):
            raise pickle.UnpicklingError(f"the data type {str(code)[:40]!r} is not used by feature files")
        self.dtype = np.dtype("O" if code.endswith(("O", "O8")) else code)

    def __setstate__(self, state: Any) -> None:
        _, order, *structure = state
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "=") or any(part is not None for part in structure[:3]):
            raise pickle.UnpicklingError("structured data types are not used by feature files")
        self.dtype = np.dtype(order + self.dtype.str.lstrip("<>|="))


class _Array(np.ndarray[Any, Any]):
    """An array that checks its state before NumPy takes it."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if isinstance(content, str):  # from Python 2
            content = content.encode("latin1")
        dtype = _checked(shape, dtype, content)
        content = bytes(content.read()) if isinstance(content, Extent) else content
        super().__setstate__((1, shape, dtype, bool(fortran), content))  # type: ignore[arg-type]  # the stub wants numpy's own bool


def _on_disk(content: Any, dtype: Any, shape: Any, fortran: Any) -> DiskArray | None:
    """Return the array if its content was left in the file and can be read row by row."""
    if not isinstance(content, Extent):
        return None
    checked = _checked(shape, dtype, content)
    return DiskArray(content, checked, shape) if len(shape) == 3 and not fortran and checked.kind in "fiub" else None


def _checked(shape: Any, dtype: Any, content: Any) -> np.dtype[Any]:
    """Return the data type if ``content`` has the right size for that many values."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError("an array without a data type or a shape")
    expected = math.prod(shape) * (1 if dtype.dtype.hasobject else dtype.dtype.itemsize)
    if not isinstance(content, list if dtype.dtype.hasobject else bytes | bytearray | Extent) or len(content) != expected:
        raise pickle.UnpicklingError(f"an array of shape {shape} whose content has another size")
    return dtype.dtype


_NDARRAY = "numpy.ndarray"  # only used as an argument of _reconstruct


def _reconstruct(subtype: Any, shape: Any, typecode: Any) -> Any:
    if subtype is not _NDARRAY or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array must start empty and be a plain numpy.ndarray")
    return _Array((0,), "b")


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any, axis_order: Any = None) -> Any:
    if axis_order is None and (left := _on_disk(buffer, dtype, shape, order != "C")) is not None:
        return left
    buffer = buffer.read() if isinstance(buffer, Extent) else buffer
    array = np.frombuffer(buffer, dtype=_checked(shape, dtype, buffer))
    if axis_order is not None:
        return array.reshape(shape).transpose(axis_order)
    return array.reshape(shape, order=order)


def _scalar(dtype: Any, content: Any = None) -> Any:
    content = content.encode("latin1") if isinstance(content, str) else content  # from Python 2
    return np.frombuffer(content, dtype=_checked((), dtype, content))[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    # protocols 0 to 2 have no bytes type and store bytes as text
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"codec {encoding!r} is not used by feature files")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    # form in which protocols 0 to 2 store b"", the content of an empty array
    return b""


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
"""All names that a pickle may import, by (module, name), and their replacements."""


class _RefusedGlobal(Exception):
    """Error for a pickle that imports a name that is not listed."""


def _bytes(width: int, kind: type = bytes) -> Any:
    """Return a reader of bytes whose number precedes them in ``width`` bytes."""

    def load(self: Any) -> None:
        # read first: a damaged length must not reserve memory
        size = int.from_bytes(self.read(width), "little")
        self.append(self.left(size) or kind(self.read(size)))

    return load


def _string(self: Any) -> None:
    """Read a string of Python 2, the type in which it stored an array's bytes."""
    size = int.from_bytes(self.read(4), "little", signed=True)
    if size < 0:
        raise pickle.UnpicklingError("a string of a negative length")
    self.append(self.left(size) or self._decode_string(self.read(size)))


def _build(self: Any) -> None:
    """Give an array its content, or replace it, wherever the pickle refers to it, by an array that stays on the disk."""
    array, state = self.stack[-2:]
    if (
        isinstance(array, _Array)
        and isinstance(state, tuple)
        and len(state) == 5
        and (left := _on_disk(state[4], state[2], state[1], state[3])) is not None
    ):
        self.stack[-2:] = [left]
        self.memo.update({key: left for key, value in self.memo.items() if value is array})
    else:
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)


class _Unpickler(pickle._Unpickler):
    """Python's unpickler in pure Python; the one in C reserves whatever memory a damaged file asks for.

    Args:
        file: the file to read, perhaps one that reports progress.
        left_in: the file in which large arrays are left; None to read them.
        path: name of the file, for messages.
    """

    dispatch = {  # noqa: RUF012  # as in the class above
        **pickle._Unpickler.dispatch,
        pickle.BINBYTES[0]: _bytes(4),
        pickle.BINBYTES8[0]: _bytes(8),
        pickle.BYTEARRAY8[0]: _bytes(8, bytearray),
        pickle.BINSTRING[0]: _string,
        pickle.BUILD[0]: _build,
    }

    def __init__(self, file: Reading, left_in: IO[bytes] | None, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # arrays pickled by Python 2 hold their bytes in its str type
        self._reading, self._left_in, self._path = file, left_in, path

    def left(self, size: int) -> Extent | None:
        """Skip the next bytes if they are many and may stay in the file."""
        unframer = self._unframer  # type: ignore[attr-defined]  # known to no stub, in CPython since 3.4
        frame = unframer.current_frame
        if self._left_in is None or size < LEAST or (frame and frame.tell() < len(frame.getbuffer())):
            return None
        unframer.current_frame = None
        at = self._left_in.tell()
        if at + size > os.fstat(self._left_in.fileno()).st_size:
            raise EOFError(f"{size} bytes are announced and are not there")
        self._left_in.seek(at + size)
        self._reading.passed(size)
        return Extent(self._left_in, self._path, at, size)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        wanted = f"{module}.{name}"
        if not all(part.isidentifier() for part in wanted.split(".")):  # a text file can look like an import
            raise pickle.UnpicklingError("an import of something that has no name")
        raise _RefusedGlobal(wanted)


def load(file: IO[bytes], path: Path, large_stay: bool = False) -> Any:
    """Unpickle ``file`` with the allow-list.

    Args:
        file: open binary file, at its start.
        path: name of the file, for messages.
        large_stay: whether large arrays of numbers stay in the file, as `DiskArray`; it must be open as long as they are used.

    Returns:
        The content; its layout is not checked here.

    Raises:
        DataError: the pickle imports a name that is not in ``ALLOWED``, is empty or truncated, or is no pickle.
    """
    try:
        with progress("reading", path.stat().st_size if path.is_file() else None) as advance:
            return _Unpickler(Reading(file, advance), file if large_stay and file.seekable() else None, path).load()
    except _RefusedGlobal as refused:
        raise data_error(
            path,
            "",
            found=f"a pickle that imports {str(refused)[:200]!r}, which could run any code when read; nothing of it was run",
            expected="a pickle made of dicts, lists, strings, numbers and NumPy arrays only",
            do="do not load this file by other means unless you trust its origin; if you made it yourself, convert its values "
            "to NumPy arrays and lists (torch tensors with .numpy(), pandas columns with .to_numpy()) and pickle it again",
        ) from None
    except _Unusable as unusable:
        raise data_error(
            path,
            "",
            found=str(unusable),
            expected="arrays of numbers, and of strings as ids and texts",
            do="store each field of the records as an array of its own, and dates as strings",
        ) from None
    except DataError:
        raise
    except Exception as error:
        # bytes that are no whole pickle can raise nearly any exception
        raise data_error(
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
    if isinstance(error, MemoryError):
        return f"a file of {size} bytes that asks for more memory than there is, or that is damaged"
    is_pickle = file.read(1) in (b"\x80", b"(", b"}", b"]")
    kind = "a truncated or damaged pickle" if is_pickle else "not a pickle"
    return f"{size} bytes, {kind} (reading it ended with {type(error).__name__}: {str(error)[:200] or 'no message'})"
