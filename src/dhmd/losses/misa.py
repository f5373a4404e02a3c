r"""The losses of MISA: difference, central moment discrepancy, reconstruction and domain classification.

P_m, S_m, u_m (B, H) are the private, shared and projected vectors of modality m.
Source: D. Hazarika, R. Zimmermann, S. Poria: MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment Analysis.
ACM MM 2020, section 3.5; sums and means from the authors' code (declare-lab/MISA@ec42fad).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from dhmd.batch import FeatureBatch
from dhmd.errors import UsageError
from dhmd.outputs import Outputs

Vectors = Mapping[str, Tensor]


def difference_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean of the squared entries of X^T Y (H, H), a soft orthogonality of x and y (B, H).

    The rows of X and Y are those of x and y, centred over the batch and divided by their L2 norm + 1e-6, which has no gradient.
    """

    def normalised(rows: Tensor) -> Tensor:
        centred = rows - rows.mean(dim=0)
        norms: Tensor = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
        return centred / (norms.detach() + 1e-6)

    return (normalised(x).T @ normalised(y)).square().mean()


def central_moment_discrepancy(x: Tensor, y: Tensor, moments: int = 5) -> Tensor:
    """CMD of x and y (B, H): |E x - E y| + sum over k = 2 ... ``moments`` of |E (x - E x)^k - E (y - E y)^k|, E over the batch.

    The gradient of a distance of 0 is 0. Values are taken to lie in an interval of length 1, as those of a sigmoid do.

    Source: W. Zellinger et al.: Central Moment Discrepancy for Domain-Invariant Representation Learning. ICLR 2017, equation 6.
    """
    mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
    powers = [((x - mean_x) ** k).mean(dim=0) - ((y - mean_y) ** k).mean(dim=0) for k in range(2, moments + 1)]
    return torch.stack([torch.linalg.vector_norm(gap) for gap in (mean_x - mean_y, *powers)]).sum()


def domain_loss(logits: Vectors) -> Tensor:
    """Cross-entropy of telling modalities apart, the mean over all rows.

    Args:
        logits: of each modality (B, M), in the order of its classes.
    """
    rows = torch.cat([*logits.values()])
    classes = torch.arange(len(logits), device=rows.device).repeat_interleave(len(rows) // len(logits))
    return F.cross_entropy(rows, classes)


class Difference:
    """Sum of `difference_loss` over (P_m, S_m) of every modality and (P_m, P_n) of every two."""

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None for outputs without private and shared vectors."""
        private, shared = _vectors(outputs, "private"), _vectors(outputs, "shared")
        if private is None or shared is None:
            return None
        pairs = [*((private[m], shared[m]) for m in private), *combinations(private.values(), 2)]
        return torch.stack([difference_loss(x, y) for x, y in pairs]).sum()


class CentralMomentDiscrepancy:
    """Mean of `central_moment_discrepancy` over (S_m, S_n) of every two modalities.

    Args:
        moments: highest order of a moment.

    Raises:
        UsageError: the order is no whole number from 1 on.
    """

    def __init__(self, moments: int = 5) -> None:
        if isinstance(moments, bool) or not isinstance(moments, int) or moments < 1:
            raise UsageError(f"moments of the central moment discrepancy: found {moments!r}; expected a whole number, 1 at least")
        self.moments = moments

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None for outputs without shared vectors, or where a discriminator takes its place."""
        shared = _vectors(outputs, "shared")
        if shared is None or _vectors(outputs, "domain") is not None:
            return None
        return torch.stack([central_moment_discrepancy(x, y, self.moments) for x, y in combinations(shared.values(), 2)]).mean()


class Reconstruction:
    """Mean over modalities of the mean squared error between u_m and its reconstruction from P_m + S_m; both have gradients."""

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None for outputs without reconstructed vectors."""
        projected, reconstruction = _vectors(outputs, "projected"), _vectors(outputs, "reconstruction")
        if projected is None or reconstruction is None:
            return None
        return torch.stack([F.mse_loss(x, projected[m]) for m, x in reconstruction.items()]).mean()


class DomainClassification:
    """`domain_loss` of a discriminator that tells modalities apart by their shared vectors, through reversed gradients."""

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None for a network without a discriminator."""
        logits = _vectors(outputs, "domain")
        return None if logits is None else domain_loss(logits)


def _vectors(outputs: Outputs, name: str) -> Vectors | None:
    """Return vectors by modality; None where the outputs have none of that name."""
    return getattr(outputs, name, None) or None
