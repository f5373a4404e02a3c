"""Edges and activations by class and epoch are the means of what the network gave to each class's samples."""

import h5py
import numpy as np
import torch

from dhmd.batch import FeatureSpec
from dhmd.evaluation.metrics import sentiment_class
from dhmd.models import DecoupledOutputs, Space
from dhmd.outputs import Edges, Outputs
from dhmd.training.averages import EpochMeans
from dhmd.training.build import whole_split
from dhmd.training.by_class import ByClass
from dhmd.training.inference import predict_split
from dhmd.training.load import load_run
from dhmd.training.train import train


def spec(task="regression", n_classes=1):
    return FeatureSpec(dims={"language": 2, "vision": 2}, lengths={"language": 3, "vision": 3}, task=task, n_classes=n_classes)


def outputs(activations, weights):
    pairs = (("vision", "language"), ("language", "vision"))
    space = Space(
        sequences={}, pooled={}, activations=activations, edges=Edges(pairs=pairs, weights=weights, distillation=weights, prior=None)
    )
    return DecoupledOutputs(prediction=torch.zeros(len(weights), 1), homogeneous=space)


def test_means_of_each_class_over_uneven_batches():
    rng = np.random.default_rng(0)
    a, w = rng.random((7, 5)).astype(np.float32), rng.random((7, 2)).astype(np.float32)
    label = np.array([-3.0, -2.6, 0.2, 0.0, 1.5, 2.9, 0.4], np.float32)  # classes -3 -3 0 0 2 3 0
    found, means = ByClass(spec()), EpochMeans()
    for rows in (slice(0, 4), slice(4, 7)):
        part = outputs({"language": torch.from_numpy(a[rows])}, torch.from_numpy(w[rows]))
        means.update(found.parts(part.arrays(), torch.from_numpy(label[rows])), len(label[rows]))
    found.add(means.compute())
    arrays = found.arrays()
    assert arrays["training/classes"].tolist() == [-3, -2, -1, 0, 1, 2, 3]
    np.testing.assert_allclose(arrays["training/class_share"], np.array([2, 0, 0, 3, 0, 1, 1]) / 7)
    for row, c in enumerate(arrays["training/classes"]):
        mine = sentiment_class(label) == c
        for name, all_of_them in (("training/activations/homogeneous/language", a), ("edges/homogeneous/validation_by_class", w)):
            expected = all_of_them[mine].mean(axis=0) if mine.any() else np.zeros(all_of_them.shape[1])
            np.testing.assert_allclose(arrays[name][0, row], expected, rtol=1e-5)


def test_classes_of_a_task_and_a_network_without_stages():
    assert ByClass(spec("multiclass", 4)).classes == [0, 1, 2, 3]
    assert ByClass(spec("binary")).classes == [0, 1]
    assert ByClass(spec()).parts(Outputs(prediction=torch.zeros(2, 1)).arrays(), torch.zeros(2)) == {}
    assert ByClass(spec()).arrays() == {}


def test_the_state_continues():
    one, other = ByClass(spec()), ByClass(spec())
    for _ in range(2):
        means = EpochMeans()
        means.update(one.parts(outputs({"language": torch.rand(3, 5)}, torch.rand(3, 2)).arrays(), torch.tensor([0.0, 1.0, 1.0])), 3)
        one.add(means.compute())
    other.restore(one.state())
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array)


def test_a_run_records_what_its_best_epoch_shows_on_validation(tiny, tmp_path, no_figures):
    run_dir = train(tiny(tmp_path / "run", "trainer.max_epochs=2")).run_dir
    run = load_run(run_dir)
    module, batches = run.module, whole_split(run.data, "valid")
    valid = predict_split(run.network, batches, run.data.ids("valid"), module.objective.task, module.optimisation.validation_loss)
    best = torch.load(run_dir / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]
    with h5py.File(run_dir / "record.h5") as file:
        classes, share = file["training/classes"][()], file["training/class_share"][()]
        activations = file["training/activations/heterogeneous/vision"][()]
        edges = file["edges/homogeneous/validation_by_class"][()]
        assert activations.shape == (2, 7, 16)
        assert edges.shape == (2, 7, 6)
        np.testing.assert_allclose((share[:, None] * edges[best]).sum(axis=0), file["edges/homogeneous/validation"][best], atol=1e-6)
    numbers = sentiment_class(valid.label)
    np.testing.assert_allclose(share, [(numbers == c).mean() for c in classes])
    for row, c in enumerate(classes):
        if (numbers == c).any():
            expected = valid.activations["heterogeneous"]["vision"][numbers == c].mean(axis=0)
            np.testing.assert_allclose(activations[best, row], expected, atol=1e-5)
