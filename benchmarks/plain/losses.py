"""Every loss term of DMD in the authors' manner, and one training step's objective."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.network import DMD, LETTERS
from benchmarks.plain.units import GraphDistillation

MARGIN = 0.15


def margin_loss(rows: Tensor, labels: Tensor) -> Tensor:
    """Return the margin loss of rows (N, d) and labels (N,), one anchor after another."""
    found = []
    for i in range(len(rows)):
        same = labels == labels[i]
        negative = ~same
        same[i] = False
        if not same.any() or not negative.any():
            continue
        to_same = F.cosine_similarity(rows[i].unsqueeze(0), rows[same])
        to_other = F.cosine_similarity(rows[i].unsqueeze(0), rows[negative])
        margin = MARGIN * (labels[i] - labels[negative]).abs()
        found.append(F.relu(margin.unsqueeze(0) - to_same.unsqueeze(1) + to_other.unsqueeze(0)).mean())
    return torch.stack(found).mean() if found else torch.zeros((), device=rows.device)


def orthogonality_loss(out: dict[str, Tensor]) -> Tensor:
    """Return max(0, cos(s, c)) over the batch axis of (T, B, d), as CosineEmbeddingLoss computed it under torch 1.9."""
    total = torch.zeros((), device=out["s_l"].device)
    for x in LETTERS:
        s, c = out[f"s_{x}"], out[f"c_{x}"]
        norm = ((s * s).sum(1) + 1e-12) * ((c * c).sum(1) + 1e-12)
        total = total + F.relu((s * c).sum(1) / norm.sqrt()).mean()
    return total


class System(nn.Module):
    """The network and its two Graph Distillation Units; ``step`` gives all terms and the total."""

    def __init__(self, network: DMD, width: int) -> None:
        super().__init__()
        self.model = network
        self.homo_gd = GraphDistillation("homo", width, 64)
        self.hetero_gd = GraphDistillation("hetero", 2 * width, 32)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's outputs."""
        out: dict[str, Tensor] = self.model(features)
        return out

    def terms(self, out: dict[str, Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return every term, unweighted, and ``total``; label is (B, 1)."""
        found = {"task_fused": F.l1_loss(out["output_logit"], label), "task_common": F.l1_loss(out["logits_c"], label)}
        for space in ("homo", "hetero"):
            found |= {f"task_{x}_{space}": F.l1_loss(out[f"logits_{x}_{space}"], label) for x in LETTERS}
        task = torch.stack(list(found.values())).sum()
        found["recon"] = torch.stack([F.mse_loss(out[f"recon_{x}"], out[f"origin_{x}"]) for x in LETTERS]).sum()
        found["cycle"] = torch.stack([F.mse_loss(out[f"s_{x}"].permute(1, 2, 0), out[f"s_{x}_r"]) for x in LETTERS]).sum()
        found["ortho_batchdim"] = orthogonality_loss(out)
        found["margin"] = margin_loss(torch.cat([out[f"c_{x}_sim"] for x in LETTERS]), label.squeeze(1).repeat(3))
        for space, unit in (("homo", self.homo_gd), ("hetero", self.hetero_gd)):
            logits = torch.stack([out[f"logits_{x}_{space}"] for x in LETTERS])
            reprs = torch.stack([out[f"repr_{x}_{space}"] for x in LETTERS])
            regularity, logit, representation = unit.losses(logits, reprs, unit(logits, reprs))
            found |= {f"gd_{space}_reg": regularity, f"gd_{space}_logit": logit, f"gd_{space}_repr": representation}
        homo = found["gd_homo_logit"] + found["gd_homo_reg"]
        hetero = found["gd_hetero_logit"] + found["gd_hetero_repr"] + found["gd_hetero_reg"]
        decoupling = found["cycle"] + found["recon"] + 0.1 * (found["margin"] + found["ortho_batchdim"])
        found["total"] = task + 0.05 * homo + 0.05 * hetero + 0.1 * decoupling
        return found
