"""The network of DMD, one modality and one encoder after another. Letters: l language, v vision, a acoustic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.encoder import TransformerEncoder

LETTERS = ("l", "v", "a")
SOURCES = {"l": "av", "v": "la", "a": "lv"}
"""Modalities that each modality attends to, in the order in which the results are joined."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network; the maps are by letter."""

    dims: Mapping[str, int]
    lengths: Mapping[str, int]
    kernels: Mapping[str, int]
    width: int = 50
    heads: int = 10
    layers: int = 4


@dataclass(frozen=True)
class Rates:
    """Dropout rates; ``attention`` by the letter of the modality attended to. The default is none at all."""

    attention: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(LETTERS, 0.0))
    memory: float = 0.0
    embedding: float = 0.0
    text: float = 0.0
    output: float = 0.0


class DMD(nn.ModuleDict):
    """Network of Li, Wang and Cui, "Decoupled Multimodal Distilling for Emotion Recognition", CVPR 2023, as in the authors' code."""

    def __init__(self, sizes: Sizes, rates: Rates) -> None:
        super().__init__()
        self.rates = rates
        d, h, n = sizes.width, sizes.heads, sizes.layers
        self["encoder_c"] = nn.Conv1d(d, d, 1, bias=False)
        for x in LETTERS:
            length = sizes.lengths[x] - sizes.kernels[x] + 1
            self[f"proj_{x}"] = nn.Conv1d(sizes.dims[x], d, sizes.kernels[x], bias=False)
            self[f"encoder_s_{x}"] = nn.Conv1d(d, d, 1, bias=False)
            self[f"decoder_{x}"] = nn.Conv1d(2 * d, d, 1, bias=False)
            self[f"align_c_{x}"] = nn.Linear(d * length, d)
            self[f"proj_cosine_{x}"] = nn.Linear(d * length, d)
            self[f"self_attentions_c_{x}"] = TransformerEncoder(d, h, n, rates.attention[x], rates.embedding)
            for y in SOURCES[x]:
                self[f"trans_{x}_with_{y}"] = TransformerEncoder(d, h, n, rates.attention[y], rates.embedding)
            self[f"trans_{x}_mem"] = TransformerEncoder(2 * d, h, max(n, 3), rates.memory, rates.embedding)
            self[f"weight_{x}"] = nn.Linear(2 * d, 2 * d)
            self._head(f"_{x}_low", d * length, d)
            self._head(f"_{x}_high", 2 * d, 2 * d)
        self["weight_c"] = nn.Linear(3 * d, 3 * d)
        self._head("_c", 3 * d, 3 * d)
        self._head("", 9 * d, 9 * d)

    def _head(self, name: str, width: int, hidden: int) -> None:
        self[f"proj1{name}"] = nn.Linear(width, hidden)
        self[f"proj2{name}"] = nn.Linear(hidden, width)
        self[f"out_layer{name}"] = nn.Linear(width, 1)

    def _refine(self, name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden layer, refined input and logit of a head."""
        hidden = F.relu(self[f"proj1{name}"](x))
        refined = self[f"proj2{name}"](F.dropout(hidden, self.rates.output, self.training)) + x
        return hidden, refined, self[f"out_layer{name}"](refined)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return every input of the losses, by the authors' names, for features (B, T, dim) by letter."""
        out: dict[str, Tensor] = {}
        for x in LETTERS:
            given = F.dropout(features[x], self.rates.text, self.training) if x == "l" else features[x]
            out[f"origin_{x}"] = self[f"proj_{x}"](given.transpose(1, 2))
        s = {x: self[f"encoder_s_{x}"](out[f"origin_{x}"]) for x in LETTERS}
        c = {x: self["encoder_c"](out[f"origin_{x}"]) for x in LETTERS}
        for x in LETTERS:
            out[f"c_{x}_sim"] = self[f"align_c_{x}"](c[x].flatten(1))
            out[f"recon_{x}"] = self[f"decoder_{x}"](torch.cat([s[x], c[x]], dim=1))
        for x in LETTERS:
            out[f"s_{x}_r"] = self[f"encoder_s_{x}"](out[f"recon_{x}"])
        for x in LETTERS:
            out[f"s_{x}"], out[f"c_{x}"] = s[x].permute(2, 0, 1), c[x].permute(2, 0, 1)
        self._homogeneous(out)
        self._heterogeneous(out)
        gated = [torch.sigmoid(self[f"weight_{x}"](out[f"last_h_{x}"])) for x in LETTERS]
        gated.append(torch.sigmoid(self["weight_c"](out["c_fusion"])))
        out["output_logit"] = self._refine("", torch.cat(gated, dim=1))[2]
        return out

    def _homogeneous(self, out: dict[str, Tensor]) -> None:
        for x in LETTERS:
            flat = out[f"c_{x}"].transpose(0, 1).contiguous().flatten(1)
            out[f"repr_{x}_homo"], _, out[f"logits_{x}_homo"] = self._refine(f"_{x}_low", flat)
            out[f"proj_s_{x}"] = self[f"proj_cosine_{x}"](out[f"s_{x}"].transpose(0, 1).contiguous().flatten(1))
        last = [self[f"self_attentions_c_{x}"](out[f"c_{x}"])[-1] for x in LETTERS]
        out["c_fusion"] = torch.cat(last, dim=1)
        out["logits_c"] = self._refine("_c", out["c_fusion"])[2]

    def _heterogeneous(self, out: dict[str, Tensor]) -> None:
        for x in LETTERS:
            found = [self[f"trans_{x}_with_{y}"](out[f"s_{x}"], out[f"s_{y}"]) for y in SOURCES[x]]
            out[f"last_h_{x}"] = self[f"trans_{x}_mem"](torch.cat(found, dim=2))[-1]
        for x in LETTERS:
            _, out[f"repr_{x}_hetero"], out[f"logits_{x}_hetero"] = self._refine(f"_{x}_high", out[f"last_h_{x}"])
