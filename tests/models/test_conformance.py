"""Every file of conf/model: what the rest of the suite takes for granted of a network, its objective and its training step."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from conformance import DIMS, SPLIT, build, make_batch, narrow, one_of_each_class, padded, target, uneven
from dhmd.errors import UsageError
from dhmd.interop.export import export
from dhmd.nn.temporal import Flatten
from dhmd.outputs import heads_of, map_samples
from dhmd.training.checkpoints import LAST, Checkpoints
from dhmd.training.steps import groups_of
from dhmd.training.train import train
from dhmd.training.warnings_filter import quiet
from resuming import assert_equal, assert_same_training

every = pytest.mark.parametrize("preset", one_of_each_class())


def tensors(outputs):
    """Every tensor that has a row a sample."""
    found = []
    map_samples(outputs, found.append)
    return found


def assert_close(found, expected, limit=1e-6):
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert (found[name] - x).abs().max() <= limit * max(1, x.abs().max()), name


@every
def test_the_class_is_the_one_that_the_file_names(preset):
    network = build(preset).network
    assert type(network).__name__ == target(preset).rpartition(".")[2]


@every
@pytest.mark.parametrize("aligned", [True, False])
def test_outputs_are_finite(preset, aligned):
    built = build(preset, aligned=aligned)
    smallest = built.network.smallest_batch
    for n, frames in ((smallest, None), (2, None), (4, uneven(built.spec))):
        batch = built.batch(frames, n=n)
        outputs = built.outputs(batch)
        assert outputs.prediction.shape == (n, 1)
        assert all(x.isfinite().all() for x in tensors(outputs))
        assert all(x.isfinite().all() for x in tensors(built.network.train()(batch)))


@every
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_classes_are_predicted_or_refused(preset, task):
    try:
        built = build(preset, task=task, n_classes=3 if task == "multiclass" else 1)
    except UsageError as error:
        if not str(error).startswith("data.task: found"):
            raise
        return
    outputs, batch = built.outputs(built.batch()), built.batch()
    assert outputs.prediction.shape == (len(batch), built.spec.out_dim)
    assert built.module.objective.eval()(outputs, batch)["total"].isfinite()


@every
def test_arrays_have_a_row_a_sample(preset):
    built = build(preset)
    for n in (1, 5):
        outputs = built.outputs(built.batch(n=n))
        arrays = outputs.arrays()
        assert torch.equal(arrays["prediction"], outputs.prediction)
        assert all(x.dim() == 2 and len(x) == n for x in arrays.values())
        assert all(len(x) == n for x in tensors(outputs)), "what has no row a sample cannot be gathered over processes"
        assert {name.partition("/")[2] for name in arrays if name.startswith("unimodal/")} == set(outputs.heads)
        assert all(head.shape == outputs.prediction.shape for head in outputs.heads.values())
        assert len(heads_of(arrays)) == 1 + len(outputs.heads), "two heads have one column"
        for space, edges in outputs.edges.items():
            count = len(edges.pairs)
            assert edges.distillation.shape == (n, count)
            assert edges.prior is None or edges.prior.shape == (count,)
            assert edges.weights is None or torch.equal(arrays[f"edges/{space}"], edges.weights)


@every
def test_outputs_of_all_processes_have_the_same_tensors(preset):
    built = build(preset)
    with_padding, without = (built.outputs(built.batch(frames, n=4)).complete() for frames in (uneven(built.spec), None))
    assert [x.shape for x in tensors(with_padding)] == [x.shape for x in tensors(without)]


@every
@pytest.mark.parametrize(("left", "right"), [(17, 0), (0, 17)])
def test_padding_makes_no_difference(preset, left, right):
    built = build(preset)
    if built.network.reads_padding or any(isinstance(x, Flatten) for x in built.network.modules()):
        pytest.skip("the network says that it reads padding, or its heads take one length")
    batch = built.batch(uneven(built.spec), n=4)
    before = built.outputs(batch).arrays()
    for modality in DIMS:
        assert_close(built.outputs(padded(batch, modality, left, right)).arrays(), before)


@every
@pytest.mark.parametrize("aligned", [True, False])
def test_what_padding_holds_makes_no_difference(preset, aligned):
    built = build(preset, aligned=aligned)
    if built.network.reads_padding:
        pytest.skip("the network says that it reads padding")
    batch = built.batch(uneven(built.spec), n=4)
    filled = {m: torch.where(batch.masks[m].unsqueeze(-1), x, 7.0) for m, x in batch.features.items()}
    assert_close(built.outputs(type(batch)(filled, batch.masks, tokens=batch.tokens)).arrays(), built.outputs(batch).arrays())


@every
def test_gradients_reach_every_parameter_group(preset):
    module = build(preset).module
    network, objective, spec = module.network.train(), module.objective.train(), module.spec
    stages = [stage.weights for stage in getattr(module.step, "each", ())] or [None]
    for epoch in range(3):  # labels that move do so from the second on
        objective.begin_epoch(epoch)
        for number in range(4):  # and a term may wait for some batches
            batch = make_batch(spec, seed=number, first=number % 2 * SPLIT // 2)
            for weights in stages:
                outputs = network(batch)
                losses = objective(outputs, batch, weights)
                assert all(x.isfinite() for x in losses.values()), losses
                losses["total"].backward()
                objective.after_backward(outputs, batch, number, weights)
    for name, parameters in groups_of(network, objective).items():
        gradients = [p.grad for p in parameters if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients), name
        assert any(g.ne(0).any() for g in gradients), name
    assert {id(p) for group in groups_of(network, objective).values() for p in group} == {id(p) for p in module.parameters()}


class Interrupted(Exception):
    """Training has died."""


class Interruption(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            raise Interrupted


def fit(module, folder, *callbacks, resume=False):
    """Train for two epochs of two steps each."""
    halves = [make_batch(module.spec, seed=i, first=i * SPLIT // 2) for i in range(2)]
    options = {"logger": False, "enable_checkpointing": True, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [*callbacks, Checkpoints(folder)]
    with quiet():
        trainer = pl.Trainer(accelerator="cpu", max_epochs=2, num_sanity_val_steps=0, callbacks=callbacks, **options)
        loaders = [DataLoader(batches, batch_size=None) for batches in (halves * module.step.stages, halves[:1])]
        trainer.fit(module, *loaders, ckpt_path=folder / LAST if resume else None, weights_only=True)


@every
def test_two_steps_saved_and_loaded_go_on_as_if_nothing_had_been(preset, tmp_path):
    whole, cut, again = (build(preset, seed=seed) for seed in (0, 0, 1))
    start = {name: x.clone() for name, x in whole.module.state_dict().items()}
    fit(whole.module, tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(cut.module, tmp_path / "cut", Interruption())
    saved = torch.load(tmp_path / "cut" / LAST, weights_only=True)
    assert any(not torch.equal(x, start[name]) for name, x in saved["state_dict"].items()), "nothing has been trained"

    again.module.load_state_dict(saved["state_dict"])
    batch = cut.batch(seed=5)
    assert_equal(again.outputs(batch).arrays(), cut.outputs(batch).arrays())

    fit(again.module, tmp_path / "cut", resume=True)
    assert_same_training(*(torch.load(tmp_path / folder / LAST, weights_only=True) for folder in ("whole", "cut")))


@pytest.mark.slow
@every
def test_a_run_is_exported(preset, tmp_path, tiny, no_figures):
    pytest.importorskip("onnxscript", reason="needs the extra 'export'")
    sizes = [*narrow(preset), "trainer.max_epochs=1", "data.batch_size=16"]
    tokens = ["text_encoder=minilm"] if build(preset).network.needs_tokens else []
    run = train(tiny(tmp_path / "run", *sizes, *tokens, model=preset)).run_dir
    for kind in ("torch", "onnx"):
        found = export(run, tmp_path / kind, kind)
        assert found.outputs[0] == "prediction"
        assert found.difference < 1e-4
