"""Two problems of CMU-MOSI's size, and both networks on them with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.plain.losses import System
from benchmarks.plain.network import DMD, LETTERS, Rates, Sizes
from dhmd.app import compose
from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.config import to_plain
from dhmd.interop.dmd import LETTERS as LETTER_OF
from dhmd.interop.dmd import dmd_from_authors, plan_of
from dhmd.losses import Objective
from dhmd.models import DecoupledDistillation
from dhmd.training.build import build_objective
from dhmd.training.optimisation import Optimisation

BATCH = 16
RATE = 1e-4
DIMS = {"l": 768, "v": 20, "a": 5}
KERNELS = dict.fromkeys(LETTERS, 5)
MODALITY = {letter: m for m, letter in LETTER_OF.items()}
AUTHORS = Rates({"l": 0.3, "v": 0.0, "a": 0.2}, memory=0.3, embedding=0.2, text=0.5, output=0.5)
NO_DROPOUT = Rates()
Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Frames by letter, and reference values of the authors' network: seconds of a training step and of an evaluation, and GB."""

    name: str
    lengths: Mapping[str, int]
    step_s: float
    evaluation_s: float
    memory_gb: float

    @property
    def frames(self) -> str:
        """Frames as in tables: language/vision/acoustic."""
        return "/".join(str(self.lengths[x]) for x in LETTERS)


CASES = {
    "aligned": Case("aligned", {"l": 50, "v": 50, "a": 50}, 0.54, 0.089, 0.8),
    "unaligned": Case("unaligned", {"l": 50, "v": 500, "a": 375}, 20.0, 3.5, 8.6),
}
ELSEWHERE_GFLOPS = 147.0
"""Matrix rate of the machine on which the authors' network was measured, with two threads."""


def features(case: Case, device: torch.device | str = "cpu", seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Return random features (B, T, dim) by letter, and labels (B, 1) on the grid of CMU-MOSI's, some of them equal."""
    random = torch.Generator().manual_seed(seed)
    x = {letter: torch.randn(BATCH, case.lengths[letter], DIMS[letter], generator=random).to(device) for letter in LETTERS}
    label = (torch.randint(-15, 16, (BATCH, 1), generator=random) / 5).to(device)
    return x, label


def batch_of(x: Mapping[str, Tensor], label: Tensor) -> FeatureBatch:
    """Return the same data as a batch of the suite, every frame real."""
    masks = {MODALITY[letter]: torch.ones(value.shape[:2], dtype=torch.bool, device=value.device) for letter, value in x.items()}
    return FeatureBatch({MODALITY[letter]: value for letter, value in x.items()}, masks, label.squeeze(1))


def plain_system(case: Case, rates: Rates, device: torch.device | str = "cpu") -> System:
    """Return the plain implementation, with the same new weights in every call."""
    torch.manual_seed(1111)
    return System(DMD(Sizes(DIMS, case.lengths, KERNELS), rates), 50).to(device)


def suite_network(system: System, rates: Rates) -> DecoupledDistillation:
    """Return the suite's ``dmd_authors`` with the plain implementation's weights, if these are given."""
    weights = {name: value.cpu() for name, value in system.state_dict().items()}
    options = plan_of(weights).options
    dropout = {
        "attention": {MODALITY[letter]: rate for letter, rate in rates.attention.items()},
        "memory": rates.memory,
        "embedding": rates.embedding,
        "text": rates.text,
        "output": rates.output,
    }
    network = DecoupledDistillation(plan_of(weights).spec, **options, dropout=dropout)
    network.load_state_dict(dmd_from_authors(weights, options["heads"]).state_dict())
    return network.to(next(system.parameters()).device)


def preset(name: str, lengths: Mapping[str, int]) -> tuple[DecoupledDistillation, Objective]:
    """Return a network of conf/model on features of these sizes, at the preset's dropouts, and its objective."""
    config = to_plain(compose([f"model={name}", "data=mosi_unaligned", "run_dir=none"]))
    spec = FeatureSpec({MODALITY[x]: DIMS[x] for x in LETTERS}, {MODALITY[x]: lengths[x] for x in LETTERS}, aligned=False)
    model = {key: value for key, value in config["model"].items() if key != "_target_"}
    torch.manual_seed(1111)
    network = DecoupledDistillation(spec, **model)
    return network, build_objective(config["objective"], spec, network)


def authors_objective(network: DecoupledDistillation) -> Objective:
    """Return all losses with the authors' weights and axes, as in ``model=dmd_authors``."""
    config = to_plain(compose(["model=dmd_authors", "run_dir=none"]))["objective"]
    return build_objective(config, network.spec, network)


def plain_training(system: System, x: dict[str, Tensor], label: Tensor) -> Step:
    """Return a training step: forward, all losses, backward and a step of Adam, in the authors' order."""
    system.train()
    optimizer = torch.optim.Adam(system.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(system.terms(system(x), label)["total"])
        optimizer.step()

    return step


def suite_training(network: DecoupledDistillation, objective: Objective, batches: list[FeatureBatch]) -> Step:
    """Return the same training step in the suite, with the optimizer of a run; one step a batch."""
    network.train()
    optimizer = Optimisation(lr=RATE).optimizer(network.parameter_groups())

    def step() -> None:
        for batch in batches:
            optimizer.zero_grad()
            torch.autograd.backward(objective(network(batch), batch)["total"])
            optimizer.step()

    return step


def evaluation(network: nn.Module, batch: FeatureBatch | dict[str, Tensor]) -> Step:
    """Return a forward pass without gradients or dropout."""
    network.eval()

    def step() -> None:
        with torch.inference_mode():
            network(batch)

    return step
