"""Losses of unimodal heads for labels that are generated during training (Self-MM, Yu et al., AAAI 2021; public code thuiar/MMSA).

Of every training sample the term keeps a label and a feature for each head. The features of the samples with positive and with negative
labels have a centre each; where a sample lies between the centres of a unimodal head, compared with where it lies between those of the
fused head, moves its unimodal label away from its given one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from dhmd.batch import FeatureBatch, FeatureSpec, Task
from dhmd.errors import UsageError
from dhmd.losses.task import TaskLoss
from dhmd.outputs import Outputs

if TYPE_CHECKING:
    from dhmd.models.base import Network

EPSILON = 1e-8
"""Number that the public code adds to denominators."""


def class_centres(features: Tensor, labels: Tensor) -> Tensor:
    """Mean features of the positive and of the negative samples: (2, H); NaN for a class without a sample.

    Args:
        features: (N, H).
        labels: (N,); samples with 0 or NaN are in neither class.
    """
    members = torch.stack((labels > 0, labels < 0)).to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):  # half precision is too coarse for sums over a whole split
        return members @ features / members.sum(dim=1, keepdim=True)


def relative_distance(features: Tensor, centres: Tensor) -> Tensor:
    """Position of each feature between two centres, delta = (D_n - D_p) / (D_p + 1e-8): (B,), positive where the positive one is nearer.

    D_p and D_n are the Euclidean distances to the positive and the negative centre. The paper divides both by the square root of the
    width, which cancels.

    Args:
        features: (B, H).
        centres: (2, H), the positive one first.
    """
    positive: Tensor = (features - centres[0]).norm(dim=-1)
    negative: Tensor = (features - centres[1]).norm(dim=-1)
    return (negative - positive) / (positive + EPSILON)


def generated_label(label: Tensor, delta: Tensor, fused_delta: Tensor, damping: float = 0.0) -> Tensor:
    """Unimodal labels (B,) from given ones: y' = alpha y / 2 + (y + delta_s - delta_M) / 2.

    The first half keeps the ratio of label and relative distance, the second their difference. The public alpha is
    delta_s / (delta_M + 1e-8), which is unbounded near delta_M = 0: a sample midway between the fused centres gets a label of any size and
    sign. With a damping c > 0 it is

        alpha = 1 + (delta_s - delta_M) delta_M / (delta_M^2 + c^2)

    which is delta_s / delta_M for abs(delta_M) much larger than c, departs from 1 by at most abs(delta_s - delta_M) / (2 c), and is 1 at
    delta_M = 0, where there is no ratio to keep and the difference alone moves the label.

    Args:
        label: (B,) given labels y.
        delta: (B,) relative distances delta_s of the unimodal head.
        fused_delta: (B,) relative distances delta_M of the fused head.
        damping: c; 0 for the public alpha.
    """
    shift = delta - fused_delta
    alpha = 1 + shift * fused_delta / (fused_delta**2 + damping**2) if damping else delta / (fused_delta + EPSILON)
    return 0.5 * alpha * label + 0.5 * (label + shift)


def averaged_label(old: Tensor, new: Tensor, epoch: int) -> Tensor:
    """Momentum of the labels (B,): (n - 1) / (n + 1) old + 2 / (n + 1) new in the n-th epoch, n = epoch + 1."""
    n = epoch + 1
    return (n - 1) / (n + 1) * old + 2 / (n + 1) * new


def require_regression(task: Task, name: str) -> None:
    """Check that labels are numbers on a scale.

    Raises:
        UsageError: they are classes.
    """
    if task != "regression":
        raise UsageError(
            f"data.task: found {task!r}; {name} generates labels on a scale, which classes have not; set data.task=regression "
            "where the data allows it, or train another network, for example model=dmd"
        )


class HeadState(nn.Module):
    """Labels, features and centres of one head over the training split, as buffers.

    Args:
        samples: N, samples of the split.
        width: H, width of the head's features.

    Attributes:
        labels: (N,); NaN for a sample that has not been seen, so that it is in neither class.
        features: (N, H) as last seen.
        centres: (2, H), those of the positive and the negative class; NaN for a class without a sample.
    """

    labels: Tensor
    features: Tensor
    centres: Tensor

    def __init__(self, samples: int, width: int) -> None:
        super().__init__()
        self.register_buffer("labels", torch.full((samples,), torch.nan))
        self.register_buffer("features", torch.zeros(samples, width))
        self.register_buffer("centres", torch.full((2, width), torch.nan))

    def labels_of(self, index: Tensor, given: Tensor) -> Tensor:
        """Return the labels (B,) of the rows ``index`` (B,): the given ones (B,) where a row has not been seen."""
        labels = self.labels[index]
        return torch.where(labels.isnan(), given.to(labels.dtype), labels)

    def relative_distance(self, features: Tensor) -> Tensor:
        """Return `relative_distance` (B,) of the features (B, H); NaN where a class has no centre."""
        return relative_distance(features.to(self.centres.dtype), self.centres)

    def store(self, index: Tensor, labels: Tensor, features: Tensor) -> None:
        """Keep labels (B,) and features (B, H) of the rows ``index`` (B,), and compute the centres anew."""
        self.labels[index] = labels.to(self.labels.dtype)
        self.features[index] = features.to(self.features.dtype)
        self.centres.copy_(class_centres(self.features, self.labels))


class MovingLabelLoss(nn.Module):
    """The loss of each unimodal head s for labels y_s that move: mean of w_s |prediction_s - y_s|, w_s = tanh |y_s - y_M|.

    The error is the task loss's, absolute or squared. y_M is the given label, on which `dhmd.losses.task.PredictionLoss` trains the fused
    head; it is where every y_s starts. After the backward pass of a batch in the n-th epoch, from the second on, the labels of its samples
    move,

        y_s <- (n - 1) / (n + 1) y_s + 2 / (n + 1) y',   y' as `generated_label` has it, clamped to [-H, H],

    by the batch's features and the centres after the batch before. Then its features are stored and all centres computed anew, over the
    classes that each head's own labels make. A label stays where it is while one of the two classes has no sample. A sample's losses are
    thus 0 in the first two epochs.

    Everything that this depends on is a buffer, the epoch included, so that training continues from a checkpoint at any batch as if it
    had not stopped. Labels, features and centres are addressed by ``batch.index`` and written by `after_backward` alone, in training. In
    evaluation, where the samples are those of another split, y_s is the sample's own label, as it is for a sample that has not moved: w_s
    and the losses are 0, and the total is the loss of the fused head, by which the public code validates. With several processes outputs
    and batch are those of all of them, in the same order everywhere, so that all have the same buffers, each of the whole training split.

    It is absent for a network whose outputs have no ``fused_feature`` and ``unimodal_features``.

    Args:
        spec: what the data looks like; ``spec.sizes["train"]`` samples have a label.
        task: the task loss.
        network: the network, with the widths of the features, ``fused_width`` and ``unimodal_widths`` by modality.
        limit: H; None for the largest absolute value of the labels given so far, from the second epoch on of all training samples.
        damping: c of `generated_label`, in units of the relative distance; 0 for the public ratio.

    Attributes:
        epoch: (), the epoch, counted from 0.
        fused: y_M, and features and centres of the fused head.
        heads: the same of each unimodal head, by modality.

    Raises:
        UsageError: another task than regression, no number of training samples, or an option out of its range.
    """

    epoch: Tensor

    def __init__(self, spec: FeatureSpec, task: TaskLoss, network: Network, *, limit: float | None = None, damping: float = 0.1) -> None:
        super().__init__()
        name = type(self).__name__
        require_regression(spec.task, name)
        if limit is not None and not (_is_number(limit) and limit > 0):
            raise UsageError(f"{name}.limit: found {limit!r}; expected a positive number, or null for the labels' own range")
        if not (_is_number(damping) and damping >= 0):
            raise UsageError(f"{name}.damping: found {damping!r}; expected a number, 0 or more")
        if not (samples := spec.sizes.get("train", 0)):
            raise UsageError(f"{name}: found no number of training samples in the data's specification; it keeps a label of each")
        widths: Mapping[str, int] = getattr(network, "unimodal_widths", {})
        self.task, self.limit, self.damping = task, limit, damping
        self.register_buffer("epoch", torch.tensor(0))
        self.fused = HeadState(samples, getattr(network, "fused_width", 0))
        self.heads = nn.ModuleDict({m: HeadState(samples, width) for m, width in widths.items()})

    def forward(self, outputs: Outputs, batch: FeatureBatch) -> dict[str, Tensor] | None:
        """Return the loss of each unimodal head, a scalar, by modality.

        Raises:
            ValueError: in training, the batch does not tell its samples' rows.
        """
        if _features(outputs) is None:
            return None
        given = batch.labels
        labels = self.labels_of(batch) if self.training else dict.fromkeys(self.heads, given)
        losses = {}
        for m, label in labels.items():
            error, _ = self.task.by_sample(outputs.unimodal[m], label)
            losses[m] = ((label - given).abs().tanh() * error).mean()
        return losses

    def labels_of(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Return the current labels (B,) of a training batch's samples for each unimodal head, by modality.

        Raises:
            ValueError: the batch does not tell its samples' rows.
        """
        return {m: self._head(m).labels_of(_rows(batch), batch.labels) for m in self.heads}

    def begin_epoch(self, epoch: int) -> None:
        """Keep the number of the epoch, counted from 0."""
        self.epoch.fill_(epoch)

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, batch: FeatureBatch, batch_idx: int) -> None:
        """Move the labels of the batch's samples (from the second epoch on), store their features, and compute the centres anew.

        Raises:
            ValueError: the batch does not tell its samples' rows.
        """
        if (features := _features(outputs)) is None:
            return
        fused, unimodal = features
        labels = self._moved(batch, fused, unimodal) if int(self.epoch) else self.labels_of(batch)
        self.fused.store(_rows(batch), batch.labels, fused)
        for m, label in labels.items():
            self._head(m).store(_rows(batch), label, unimodal[m])

    def _moved(self, batch: FeatureBatch, fused: Tensor, unimodal: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the labels (B,) of a batch's samples after its step, by modality."""
        given, epoch = batch.labels, int(self.epoch)
        limit = float(torch.cat((self.fused.labels.nan_to_num(), given)).abs().max()) if self.limit is None else self.limit
        fused_delta = self.fused.relative_distance(fused)
        moved = {}
        for m, old in self.labels_of(batch).items():
            delta = self._head(m).relative_distance(unimodal[m])
            new = generated_label(given, delta, fused_delta, self.damping).clamp(-limit, limit)
            moved[m] = torch.where(new.isnan(), old, averaged_label(old, new, epoch))
        return moved

    def _head(self, modality: str) -> HeadState:
        return cast(HeadState, self.heads[modality])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _features(outputs: Outputs) -> tuple[Tensor, Mapping[str, Tensor]] | None:
    """Return the features that labels are generated from: the fused head's, and the unimodal ones' by modality; None without them."""
    fused: Tensor | None = getattr(outputs, "fused_feature", None)
    unimodal: Mapping[str, Tensor] = getattr(outputs, "unimodal_features", {})
    return None if fused is None or not unimodal else (fused, unimodal)


def _rows(batch: FeatureBatch) -> Tensor:
    """Return the rows (B,) of the batch's samples in the training split.

    Raises:
        ValueError: the batch does not tell.
    """
    if batch.index is None:
        raise ValueError("the batch has no index, the rows of its samples in the training split; labels that move are kept by row")
    return batch.index
