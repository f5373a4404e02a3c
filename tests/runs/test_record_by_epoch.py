"""Numbers by class and epoch in a record, and records that are older than that."""

import h5py
import numpy as np
import pytest

from dhmd.batch import MODALITIES
from dhmd.errors import RunError
from dhmd.runs.arrays import read_record, write_record
from fabricated import make_run


def with_classes(folder):
    run = make_run(folder, n=20, epochs=4)
    with h5py.File(run / "record.h5", "a") as file:
        file["training/classes"] = np.arange(-3, 4)
        file["training/class_share"] = np.full(7, 1 / 7)
        file["training/activations/homogeneous/vision"] = np.ones((4, 7, 512))
        file["edges/homogeneous/validation_by_class"] = np.ones((4, 7, 6))
    return run / "record.h5"


def test_it_is_read(tmp_path):
    record = read_record(with_classes(tmp_path / "a"))
    assert record.training.classes.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert record.training.activations["homogeneous"]["vision"].shape == (4, 7, 512)
    assert record.edges["homogeneous"].validation_by_class.shape == (4, 7, 6)
    assert record.edges["heterogeneous"].validation_by_class is None


def test_older_records_are_read_without(tmp_path):
    record = read_record(make_run(tmp_path / "a", n=20, epochs=4) / "record.h5")
    assert record.training is None
    assert all(edges.validation_by_class is None for edges in record.edges.values())
    assert list(record.activations["homogeneous"]) == list(MODALITIES)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("training/activations/homogeneous/vision", (4, 6, 512)), ("edges/homogeneous/validation_by_class", (4, 3, 6))],
)
def test_rows_that_are_no_classes_are_told(tmp_path, name, shape):
    path = with_classes(tmp_path / "a")
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = np.ones(shape)
    with pytest.raises(RunError, match=rf"record\.h5: found classes .*{name}.*expected \(7,\)"):
        read_record(path)


def test_what_is_read_is_written_again(tmp_path):
    path = with_classes(tmp_path / "a")
    write_record(tmp_path / "again.h5", read_record(path))
    with h5py.File(path) as before, h5py.File(tmp_path / "again.h5") as after:
        names = []
        before.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            assert (before[name].dtype, before[name].shape) == (after[name].dtype, after[name].shape), name
            np.testing.assert_array_equal(before[name][()], after[name][()])
        found = []
        after.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert sorted(found) == sorted(names)
