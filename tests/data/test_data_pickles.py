"""The allow-list: what it lets through, and that nothing else runs."""

from __future__ import annotations

import io
import os
import pickle
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhmd.data.sources.safe_pickle import ALLOWED, load
from dhmd.errors import DataError

HERE = Path("some.pkl")
VALUES = {
    "array": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "permuted": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "strings": np.array(["a", "bc"]),
    "scalar": np.float32(2.5),
    "text": np.str_("word"),
    "empty": np.zeros((0, 3)),
    "list": ["x", 1, None, True, b"bytes", (1, 2)],
}


def read(data: bytes) -> Any:
    return load(io.BytesIO(data), HERE)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_lists_and_strings_are_read_under_every_protocol(protocol: int) -> None:
    back = read(pickle.dumps(VALUES, protocol=protocol))
    assert back["list"] == VALUES["list"]
    for key in ("array", "fortran", "permuted", "strings", "scalar", "text", "empty"):
        np.testing.assert_array_equal(back[key], VALUES[key])
        assert np.asarray(back[key]).dtype == np.asarray(VALUES[key]).dtype


@pytest.mark.parametrize("protocol", range(5))
def test_the_module_path_of_older_numpy_is_the_same_array(protocol: int) -> None:
    data = pickle.dumps(VALUES["array"], protocol=protocol)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    if protocol == 4:  # a length goes before the name
        new, old = bytes([len(new)]) + new, bytes([len(old)]) + old
        data = data[:2] + data[11:]  # and the frame's length no longer holds
    assert new in data
    np.testing.assert_array_equal(read(data.replace(new, old)), VALUES["array"])


def test_arrays_of_python_2_are_read() -> None:
    # what Python 2.7 with NumPy 1.16 wrote for np.array([1., 2.], dtype='<f4') under protocol 2
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x02\x85cnumpy\ndtype\nq\x04"
        b"U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tb."
    )
    np.testing.assert_array_equal(read(data), np.array([1.0, 2.0], np.float32))


class Runs:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    victim = tmp_path / "made"
    with pytest.raises(DataError) as refused:
        read(pickle.dumps({"train": Runs(os.mkdir, str(victim))}, protocol=protocol))
    assert not victim.exists()
    for part in ("some.pkl", "posix.mkdir", "nothing of it was run", "expected", "what to do"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "builtins\neval",
        "os\nsystem",
        "numpy\nload",
        "numpy\nmemmap",
        "numpy\nndarray.tofile",  # an attribute of what is allowed
        "numpy.core.multiarray\nfromfile",
        "numpy._core.multiarray\n_reconstruct.__globals__",
        "numpy.testing._private.utils\nrunstring",
        "numpy.f2py.capi_maps\nload_f2cmap_file",
        "_codecs\ndecode",
        "collections\nOrderedDict",
        "torch._utils\n_rebuild_tensor_v2",
    ],
)
def test_neighbours_of_allowed_names_are_refused(name: str) -> None:
    module, attribute = name.split("\n")
    with pytest.raises(DataError, match=r"a pickle that imports .*" + module.replace(".", r"\.")):
        read(b"c" + name.encode() + b"\n.")
    stack_global = b"\x80\x04" + pickle.dumps(module, 4)[11:-2] + pickle.dumps(attribute, 4)[11:-2] + b"\x93."
    with pytest.raises(DataError, match="a pickle that imports"):
        read(stack_global)


def test_the_allow_list_is_exact_and_small() -> None:
    assert len(ALLOWED) == 10
    assert {module for module, _ in ALLOWED} == {
        "numpy",
        "numpy.core.multiarray",
        "numpy._core.multiarray",
        "numpy.core.numeric",
        "numpy._core.numeric",
        "_codecs",
        "__builtin__",
    }


@pytest.mark.parametrize(
    "call",
    [
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",  # of another type than ndarray
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999999999\ntS'b'\ntR.",  # of a size nobody wrote
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"c__builtin__\nbytes\n(I99999999999\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\ntRS'x'\ntR.",
    ],
)
def test_allowed_names_take_only_what_numpy_writes(call: bytes) -> None:
    with pytest.raises(DataError):
        read(call)


def test_unpickled_content_holds_no_function_that_can_be_changed() -> None:
    # BUILD with a state sets attributes on whatever lies on the stack, here on one of our own functions
    with pytest.raises(DataError):
        read(b"\x80\x02c_codecs\nencode\nN}U\x08__code__U\x01xs\x86b.")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x05]r\xff\xff\xff\x7f.",  # the memo's entry number 2**31 - 1
        b"\x80\x05\x96" + (3 << 30).to_bytes(8, "little") + b"abc.",  # a bytearray of 3 GB that has 3 bytes
        b"\x80\x04\x95" + (1 << 60).to_bytes(8, "little") + b"N.",  # a frame of an exabyte
        b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little") + b"N.",  # likewise bytes
    ],
)
def test_a_damaged_length_reserves_no_memory(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(DataError):  # and no other error
        read(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kilobytes on Linux, so less than 1 GB


@pytest.mark.parametrize("code", [b"f8", b"O8", b"i8"])
def test_an_array_whose_state_contradicts_itself_is_refused(code: bytes) -> None:
    data = pickle.dumps(VALUES["array"], protocol=3)
    assert data.count(b"f4") == 1
    with pytest.raises(DataError, match="damaged"):
        read(data.replace(b"f4", code))


SMALL = pickle.dumps({"train": {"audio": VALUES["array"], "id": ["a", "b"]}}, protocol=4)


@given(st.integers(0, len(SMALL) - 1))
@settings(max_examples=60, deadline=None)
def test_a_truncated_pickle_is_a_data_error(length: int) -> None:
    with pytest.raises(DataError, match="empty" if length == 0 else "truncated"):
        read(SMALL[:length])


@given(st.sampled_from(range(6)), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_value_or_a_data_error(protocol: int, changes: list[tuple[int, int]]) -> None:
    data = bytearray(pickle.dumps({"train": {"audio": VALUES["array"], "id": ["a", "b"], "s": VALUES["strings"]}}, protocol=protocol))
    for at, value in changes:
        data[at % len(data)] = value
    with suppress(DataError):  # and no other error
        read(bytes(data))


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_garbage_gives_a_value_or_a_data_error(data: bytes) -> None:
    with suppress(DataError):  # and no other error
        read(data)


def test_more_memory_than_there_is_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setitem(ALLOWED, ("numpy", "dtype"), full)
    with pytest.raises(DataError, match="more memory than there is"):
        read(pickle.dumps(VALUES["array"]))


def test_reading_needs_no_torch() -> None:
    code = "import sys, dhmd.data.sources.safe_pickle; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
