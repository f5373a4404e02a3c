"""A plausible run folder without a training: arrays with a planted structure, in the layout a run leaves."""

import csv
import json

import h5py
import numpy as np
import yaml

from dhmd.batch import MODALITIES
from dhmd.evaluation.metrics import metrics_for, predicted_class
from dhmd.results.summary import Entry

PAIRS = [f"{teacher}->{student}" for student in MODALITIES for teacher in MODALITIES if teacher != student]
PRIORS = {
    "homogeneous": [0.0088, 0.0088, 0.4823, 0.0088, 0.4823, 0.0088],
    "heterogeneous": [0.0060, 0.0060, 0.3273, 0.0060, 0.3273, 0.3273],
}
SPACES = {"homogeneous": 50, "heterogeneous": 100}
LOSSES = [
    "task_fused",
    "task_shared",
    *(f"task_{space}_{m}" for space in SPACES for m in MODALITIES),
    "reconstruction",
    "cycle",
    "orthogonality",
    "margin",
    *(f"{space}_{term}" for space in SPACES for term in ("logit", "regularity", "representation", "matching")),
]


def make_run(
    folder,
    *,
    seed=1,
    model="dhmd",
    data="demo",
    synthetic=True,
    aligned=True,
    published_as=None,
    text_encoder="features",
    ablation=None,
    task="regression",
    n=120,
    epochs=12,
    stages=("edges", "activations", "embeddings"),
    noise=0.8,
    config=None,
    done=True,
):
    """Write a run folder and return it; ``stages`` are the groups of record.h5."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    label, prediction = _test_set(np.random.default_rng(0), generator, task, n, noise)
    settings = {
        "seed": seed,
        "run_dir": str(folder),
        "model": {"_target_": "dhmd.models.DecoupledDistillation", "width": 50},
        "data": {"name": data, "seed": seed, "path": str(folder / "features.pkl")},
        "callbacks": {"checkpoints": {"dirpath": f"{folder}/checkpoints"}},
        **(config or {}),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    description = {
        "name": data,
        "synthetic": synthetic,
        "source": {"name": "features.pkl", "size": 1, "sha256": "0" * 64},
        "published_as": published_as,
        "samples": {"train": 4 * n, "valid": n // 2, "test": n},
        "aligned": aligned,
        "task": task,
        "warnings": [],
    }
    (folder / "data.json").write_text(json.dumps(description))
    history = _history(generator, epochs)
    test = {"loss": float(np.abs(prediction[:, 0] - label).mean()), **metrics_for(task)(prediction, label)}
    validation = []
    for epoch in range(epochs):
        fading = prediction + generator.normal(0, 1.5 * np.exp(-epoch / 3), prediction.shape)
        metrics = metrics_for(task)(fading, label)
        validation.append({"epoch": epoch, "loss": history["validation/task_fused"][epoch], **metrics})
        for key, value in metrics.items():
            history.setdefault(f"validation/{key}", []).append(value)
    metrics = {
        "schema": 1,
        "task": task,
        "convention": "mosi",
        "seed": seed,
        "model": model,
        "data": data,
        "text_encoder": text_encoder,
        "ablation": ablation,
        "experiment": None,
        "synthetic": synthetic,
        "parameters": 4_740_000,
        "selection": {"monitor": "validation/loss", "epoch": epochs - 3, "value": validation[epochs - 3]["loss"]},
        "validation": validation,
        "test": test,
        "seconds": {"fit": 12.5},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    _write_csv(folder / "history.csv", history)
    ids = [f"video{i // 8}$_${i % 8}" for i in range(n)]
    columns = {"split": ["test"] * n, "id": ids, "label": label.tolist()}
    for i in range(prediction.shape[1]):
        columns["prediction" if prediction.shape[1] == 1 else f"prediction_{i}"] = prediction[:, i].tolist()
    _write_csv(folder / "predictions.csv", columns)
    with h5py.File(folder / "record.h5", "w") as file:
        file["test/id"] = np.array(ids, dtype=h5py.string_dtype())
        file["test/label"] = label
        file["test/prediction"] = prediction.astype(np.float32)
        classes = label if task == "regression" else label * 2.0 - 2
        for stage in stages:
            _STAGES[stage](file, generator, classes, epochs)
    if done:
        (folder / "DONE").touch()
    return folder


def make_entry(**options):
    """An entry of a run that there never was."""
    test = {"loss": 0.7, "acc7": 0.45, "acc2_non_zero": 0.84, "acc2_has_zero": 0.82, "f1_non_zero": 0.83, "mae": 0.7, "corr": 0.8}
    plain = {
        "run": f"runs/{options.get('model', 'dhmd')}_{options.get('seed', 1)}",
        "model": "dhmd",
        "text_encoder": "bert",
        "ablation": "",
        "seed": 1,
        "data": "mosi_aligned",
        "synthetic": False,
        "aligned": True,
        "published_as": "mosi_aligned",
        "samples": {"train": 1284, "valid": 229, "test": 686},
        "source_sha256": "0",
        "task": "regression",
        "convention": "mosi",
        "parameters": 4_740_000,
        "configuration": "abcdef0123",
        "metrics_sha256": "1",
        **options,
    }
    return Entry(**{**plain, "test": {**test, **options.get("test", {})}})


def cells(text):
    """The cells of all Markdown tables in a text, a list a line."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def _test_set(shared, own, task, n, noise):
    """Labels are the data's, equal for every seed; predictions are the seed's."""
    if task == "regression":
        label = np.clip(np.round(shared.normal(0, 1.6, n) * 5) / 5, -3, 3).astype(np.float32)
        label[::15] = 0
        return label, (0.8 * label + own.normal(0, noise, n))[:, None]
    classes = 2 if task == "binary" else 4
    label = shared.integers(classes, size=n)
    scores = np.eye(classes)[label] * 1.5 + own.normal(0, noise, (n, classes))
    assert predicted_class(scores).max() == classes - 1
    return label, scores[:, 1:] - scores[:, :1] if task == "binary" else scores


def _history(generator, epochs):
    steps = np.arange(epochs)
    history = {"epoch": steps.tolist(), "lr": np.where(steps < epochs - 3, 1e-4, 5e-5).tolist()}
    for split, floor in (("train", 0.25), ("validation", 0.5)):
        total = np.zeros(epochs)
        for i, term in enumerate(LOSSES):
            start = 0.3 + 1.2 / (1 + i % 5)
            curve = start * (floor + (1 - floor) * np.exp(-steps / (2 + i % 3))) * np.exp(generator.normal(0, 0.03, epochs))
            total = total + curve
            history[f"{split}/{term}"] = curve.tolist()
        history[f"{split}/total"] = total.tolist()
    return history


def _edges(file, generator, label, epochs):
    for space, prior in PRIORS.items():
        way = 1 - np.exp(-np.arange(epochs)[:, None] / 3)
        noisy = (1 - way) / 6 + way * np.array(prior) + np.abs(generator.normal(0, 0.01, (epochs, 6)))
        test = np.array(prior) + np.abs(generator.normal(0, 0.03, (len(label), 6)))
        file[f"edges/{space}/pairs"] = np.array(PAIRS, dtype=h5py.string_dtype())
        file[f"edges/{space}/prior"] = np.array(prior)
        file[f"edges/{space}/validation"] = noisy / noisy.sum(1, keepdims=True)
        file[f"edges/{space}/test"] = test / test.sum(1, keepdims=True)


def _activations(file, generator, label, epochs):
    """Sparse: a few entries for positive, a few for negative samples, shared by the modalities but for a few of their own."""
    for s, space in enumerate(SPACES):
        for m, modality in enumerate(MODALITIES):
            a = np.zeros((len(label), 512))
            for i, y in enumerate(label):
                pool = np.arange(100, 130) if y > 0 else np.arange(300, 330)
                pool = np.concatenate([pool + 40 * s, [10 * m, 10 * m + 1, 10 * m + 2]])
                size = 2 + m + generator.poisson(2)
                chosen = generator.choice(pool, size=size, replace=False, p=_falling(len(pool)))
                a[i, chosen] = generator.dirichlet(np.ones(size))
            file[f"activations/{space}/{modality}"] = a.astype(np.float32)


def _falling(n):
    weights = 1 / (1 + np.arange(n))
    return weights / weights.sum()


def _embeddings(file, generator, label, epochs):
    for space, width in SPACES.items():
        direction = generator.normal(0, 1, width)
        for modality in MODALITIES:
            own = generator.normal(0, 2.5 if space == "heterogeneous" else 0.3, width)
            x = own + 0.5 * np.outer(label, direction) + generator.normal(0, 1, (len(label), width))
            file[f"embeddings/{space}/{modality}"] = x.astype(np.float32)


def _training(file, generator, label, epochs):
    """By class and epoch: towards what the samples have in the end, with nobody in the class -3."""
    classes = np.arange(-3, 4)
    number = np.clip(np.round(label), -2, 3)
    share = np.array([(number == c).mean() for c in classes])
    way = (1 - np.exp(-np.arange(epochs) / 3))[:, None, None]
    file["training/classes"] = classes
    file["training/class_share"] = share

    def by_class(x):
        mean = np.stack([x[number == c].mean(axis=0) if (number == c).any() else np.zeros(x.shape[1]) for c in classes])
        start = generator.permutation(mean.T).T * (share > 0)[:, None]
        return (1 - way) * start + way * mean

    for space in SPACES:
        file[f"edges/{space}/validation_by_class"] = by_class(file[f"edges/{space}/test"][()])
        for modality in MODALITIES:
            values = by_class(file[f"activations/{space}/{modality}"][()])
            file[f"training/activations/{space}/{modality}"] = values.astype(np.float32)


_STAGES = {"edges": _edges, "activations": _activations, "embeddings": _embeddings, "training": _training}
ALL_STAGES = tuple(_STAGES)


def _write_csv(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
