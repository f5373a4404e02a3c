"""The margin loss: samples of one label close together, others apart by a margin that grows with the distance of their labels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dhmd.batch import FeatureBatch, FeatureSpec, Task
from dhmd.losses.stages import decoupled_of
from dhmd.outputs import Outputs


def margin_loss(vectors: Mapping[str, Tensor], label: Tensor, task: Task = "regression", margin: float = 0.15) -> Tensor:
    """Return the mean over anchors i of the mean over p with i's label and n with another of max(0, m_in - cos(i, p) + cos(i, n)).

    All modalities' vectors are rows of one set, so each sample's other modalities are among its positives. m_in is ``margin`` times
    ``|y_i - y_n|`` for regression, and ``margin`` for class labels. 0 when no anchor has both a positive and a negative.

    Args:
        vectors: (B, d) by modality.
        label: (B,).
        task: the kind of label.
        margin: scale of the margin.

    Source:
        DMD, CVPR 2023; pairs and margins from the authors' code.
    """
    rows = F.normalize(torch.cat(list(vectors.values())), dim=-1)
    labels = label.repeat(len(vectors)).to(rows.dtype)
    gap = (labels[:, None] - labels[None, :]).abs()
    cos = rows @ rows.T
    negative = gap != 0
    positive = ~negative & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    wanted = margin * (gap if task == "regression" else negative.to(rows.dtype))
    # (anchor, positive, negative); the products of the masks select the triples
    hinge = ((wanted + cos)[:, None, :] - cos[:, :, None]).clamp(min=0)
    triples = torch.einsum("ipn,ip,in->i", hinge, positive.to(rows.dtype), negative.to(rows.dtype))
    count = positive.sum(1) * negative.sum(1)
    return (triples / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class Margin:
    """The term of `margin_loss` on the decoupled shared parts.

    Args:
        spec: specification of the data.
        margin: scale of the margins.
    """

    def __init__(self, spec: FeatureSpec, margin: float = 0.15) -> None:
        self.task, self.margin = spec.task, margin

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without decoupling."""
        found = decoupled_of(outputs)
        return None if found is None else margin_loss(found.similarity, batch.labels, self.task, self.margin)
