"""Terms of MMIM: two lower bounds of mutual information, one of which needs an entropy (Han et al., EMNLP 2021).

The Barber-Agakov bound is I(x; y) >= H(y) + E log q(y | x): `Entropy` and `Likelihood`. The contrastive one is between the fused vector
and each modality: `Contrast`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.batch import FeatureBatch
from dhmd.errors import UsageError
from dhmd.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dhmd.baselines.mmim import Bound


def gaussian_log_likelihood(mean: Tensor, log_variance: Tensor, y: Tensor, log_term: bool = True) -> Tensor:
    """Return mean_B Σ_d ( -(y - μ)² / (2σ²) - ½ log σ² ), a scalar; the constant -½ log 2π is left out.

    Args:
        mean: (B, d), μ.
        log_variance: (B, d), log σ².
        y: (B, d).
        log_term: False leaves -½ log σ² out, as the public code does: no density then, and largest where σ² is infinite.

    Source:
        Han et al., EMNLP 2021; Barber and Agakov, "The IM Algorithm: A Variational Approach to Information Maximization", NeurIPS 2003.
    """
    density = -((y - mean) ** 2) * (-log_variance).exp() / 2
    if log_term:
        density = density - log_variance / 2
    return density.sum(dim=-1).mean()


def gaussian_entropy(x: Tensor, member: Tensor, ridge: float) -> Tensor:
    """Return ½ log det(Σ + ridge I), the entropy of a Gaussian with the members' covariance Σ, without its constant d/2 log 2πe; a scalar.

    Σ divides by the number of members. It is singular where there are d members or fewer, and 0 where there is none; with a positive ridge
    the value is at least d/2 log ridge there and its gradient finite, and 0 in the directions in which the members do not differ.

    Args:
        x: (N, d).
        member: (N,) True for the rows that count.
        ridge: added to each variance.

    Source:
        Han et al., EMNLP 2021.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    weight = member.to(x.dtype).unsqueeze(-1)
    count = weight.sum().clamp(min=1)
    centred = (x - (x * weight).sum(dim=0) / count) * weight
    covariance = (centred.unsqueeze(2) * centred.unsqueeze(1)).sum(dim=0) / count  # no product of matrices: autocast would round it
    return torch.logdet(covariance + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)) / 2


def predictive_contrast(x: Tensor, guess: Tensor) -> Tensor:
    """Return -mean_i log( exp cos(x_i, x̂_i) / Σ_j exp cos(x_i, x̂_j) ), a scalar; log B minus it is a lower bound of I(x; z).

    Args:
        x: (B, d), a modality's vectors.
        guess: (B, d), x̂, the same as guessed from z.

    Source:
        Han et al., EMNLP 2021; van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018.
    """
    scores = F.normalize(x, dim=1) @ F.normalize(guess, dim=1).T
    return F.cross_entropy(scores, torch.arange(len(x), device=x.device))


class Likelihood:
    """The negative log-likelihood of each pair's y under q(y | x).

    With several processes the mean is over the samples of all of them.

    Args:
        log_term: whether the density has its term -½ log σ²; False as in the public code.
    """

    def __init__(self, log_term: bool = True) -> None:
        self.log_term = log_term

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> dict[str, Tensor] | None:
        """Return the value by pair; None for a network without bounds."""
        bounds: Mapping[str, Bound] = getattr(outputs, "bounds", {})
        found = {k: -gaussian_log_likelihood(b.mean, b.log_variance, b.target, self.log_term) for k, b in bounds.items()}
        return found or None


class Contrast:
    """The contrastive predictive coding of each modality by the fused vector.

    With several processes a sample is held against those of all of them.
    """

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> dict[str, Tensor] | None:
        """Return the value by modality; None for a network without guesses."""
        guessed: Mapping[str, Tensor] = getattr(outputs, "guessed", {})
        return {m: predictive_contrast(outputs.encoded[m], guess) for m, guess in guessed.items()} or None  # type: ignore[attr-defined]


class Entropy(nn.Module):
    """The negative entropy of each pair's projected y, the mean of that of the samples with positive and with negative labels.

    In training the samples are those of the batch and, without gradient, those of the batch before it in the epoch. The latter are kept in
    buffers, with the number of batches so far and the epoch, so that a checkpoint from the middle of an epoch continues with the same
    numbers. With several processes both batches are those of all processes, and every process keeps the same. In evaluation the samples
    are the batch's alone.

    Args:
        ridge: added to each variance; 0 as in the public code, whose entropy is infinite where a class has not more members than
            dimensions.
        first_batch: batch of an epoch, counted from 1, from which the term is there.

    Raises:
        UsageError: an option is out of its range.
    """

    rows: Tensor
    labels: Tensor
    batches: Tensor
    epoch: Tensor

    def __init__(self, ridge: float = 1e-4, first_batch: int = 3) -> None:
        super().__init__()
        if ridge < 0:
            raise UsageError(f"objective.terms.entropy.ridge: found {ridge}; expected 0 or more")
        if first_batch < 1:
            raise UsageError(f"objective.terms.entropy.first_batch: found {first_batch}; expected 1 or more")
        self.ridge = ridge
        self.first_batch = first_batch
        self.register_buffer("rows", torch.zeros(0, 0))  # (N, D): the previous batch's projections of all pairs side by side
        self.register_buffer("labels", torch.zeros(0))  # (N,)
        self.register_buffer("batches", torch.tensor(0))
        self.register_buffer("epoch", torch.tensor(-1))

    def forward(self, outputs: Outputs, batch: FeatureBatch) -> dict[str, Tensor] | None:
        """Return the value by pair; None before the first batch that counts, and for a network without projections."""
        if not (projections := _projections(outputs)):
            return None
        labels = batch.labels
        kept: list[Tensor | None] = [None] * len(projections)
        if self.training:
            if int(self.batches) + 1 < self.first_batch:
                return None
            if len(self.rows):
                labels = torch.cat([self.labels.to(labels.dtype), labels])
                kept = list(torch.split(self.rows, [x.shape[1] for x in projections.values()], dim=1))
        found = {}
        for (pair, x), before in zip(projections.items(), kept, strict=True):
            x = x if before is None else torch.cat([before.to(x.dtype), x])
            found[pair] = -(gaussian_entropy(x, labels > 0, self.ridge) + gaussian_entropy(x, labels < 0, self.ridge)) / 2
        return found

    def begin_epoch(self, epoch: int) -> None:
        """Forget the last epoch's batch; nothing where the epoch has begun before the checkpoint that training continues from."""
        if int(self.epoch) != epoch:
            self.rows, self.labels = self.rows.new_zeros(0, 0), self.labels.new_zeros(0)
            self.batches, self.epoch = torch.zeros_like(self.batches), torch.full_like(self.epoch, epoch)

    def after_backward(self, outputs: Outputs, batch: FeatureBatch, batch_idx: int) -> None:
        """Keep the batch for the next one."""
        if projections := _projections(outputs):
            self.rows = torch.cat([x.detach() for x in projections.values()], dim=1)
            self.labels = batch.labels.detach().clone()
            self.batches = self.batches + 1

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Give the buffers the saved batch's shape, then load."""
        for name, buffer in list(self._buffers.items()):
            if buffer is not None and (saved := state_dict.get(prefix + name)) is not None:
                setattr(self, name, saved.new_empty(saved.shape, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _projections(outputs: Outputs) -> dict[str, Tensor]:
    """Return each pair's projected y (B, d); empty for a network without bounds."""
    bounds: Mapping[str, Bound] = getattr(outputs, "bounds", {})
    return {pair: bound.projection for pair, bound in bounds.items()}
