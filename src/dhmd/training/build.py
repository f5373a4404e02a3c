"""Construction of data, network and training module from a plain configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from dhmd.batch import FeatureBatch, FeatureSpec
from dhmd.config import instantiate
from dhmd.data.module import FeatureDataModule
from dhmd.errors import UsageError
from dhmd.losses import Objective
from dhmd.models.base import Network
from dhmd.training.module import MultimodalModule

CONVENTIONS = ("mosi", "sims")


def build_data(
    config: Mapping[str, Any], text_encoder: nn.Module, state: dict[str, Any] | None = None, **changes: Any
) -> FeatureDataModule:
    """Return the data module of ``config["data"]`` with ``changes``, ready: files converted and checked, specification known.

    Args:
        config: configuration of the whole run.
        text_encoder: text encoder whose tokenizer is loaded only if the data has no tokens.
        state: data module's state in a checkpoint, whose scaling of features is used.
        **changes: options of the data module that differ from the config's.

    Raises:
        DataError: the file is missing or not of the expected layout.
        UsageError: an option is wrong.
    """

    def tokenizer(sentences: list[str]) -> np.ndarray:
        tokens: np.ndarray = text_encoder.tokenizer()(sentences)  # type: ignore[operator]
        return tokens

    needs = bool(text_encoder.needs_tokens)
    if needs and not text_encoder.reads_uncased_bert and config["data"].get("tokens", "auto") == "auto":
        changes = {"tokens": "raw_text", **changes}  # text_bert has another vocabulary; the encoder's own tokenizer reads the texts
    data: FeatureDataModule = instantiate(
        {**config["data"], **changes}, "data", tokenizer=tokenizer if needs else None, tokens_required=needs
    )
    if state is not None:
        data.load_state_dict(state)
    data.prepare_data()
    data.setup()
    if needs:
        _check_tokens(data, text_encoder)
    return data


def _check_tokens(data: FeatureDataModule, text_encoder: nn.Module) -> None:
    """Refuse token ids that the encoder does not know; ``text_bert`` holds those of the uncased BERT vocabulary."""
    for split in data.store.splits:
        tokens = data.tokens(split)
        try:
            if tokens is not None:
                text_encoder.check(tokens)  # type: ignore[operator]
        except ValueError as error:
            raise UsageError(
                f"text_encoder: {error}\n  found:      tokens of {data.name}, {split}\n  expected:   those of the encoder's own tokenizer\n"
                "  what to do: data.tokens=raw_text makes them from the texts; text_bert fits encoders with the uncased BERT vocabulary"
            ) from error


def encode_once(data: FeatureDataModule, text_encoder: nn.Module, network: Network) -> None:
    """Let the data serve the hidden states of a frozen text encoder, so that it runs once and not in every step."""
    if text_encoder.frozen:
        data.encode_once(text_encoder, padding=network.reads_padding)  # type: ignore[arg-type]


def whole_split(data: FeatureDataModule, split: str) -> Iterator[FeatureBatch]:
    """Return the batches of a split in file order, all of them in this process, whatever other processes train."""
    dataset = data.dataset(split)
    for start in range(0, len(dataset), data.batch_size):
        yield dataset.__getitems__(range(start, min(start + data.batch_size, len(dataset))))


def build_module(config: Mapping[str, Any], text_encoder: nn.Module, spec: FeatureSpec) -> MultimodalModule:
    """Return the training module of ``config`` (network, objective and optimisation) for data of ``spec``.

    Raises:
        UsageError: an option is wrong or does not fit the data.
    """
    if config["convention"] not in CONVENTIONS:
        raise UsageError(f"convention: found {config['convention']!r}; expected one of {', '.join(CONVENTIONS)}")
    network = instantiate(config["model"], "model", spec=spec, text_encoder=text_encoder)
    return MultimodalModule(
        network=network,
        objective=build_objective(config["objective"], spec, network),
        optimisation=instantiate(config["optimisation"], "optimisation"),
        step=instantiate(config["step"], "step"),
        spec=spec,
        convention=config["convention"],
        seed=config["seed"],
    )


def build_objective(config: Mapping[str, Any], spec: FeatureSpec, network: Network) -> Objective:
    """Return the objective of a configuration; a term gets ``spec``, ``task`` and ``network`` if it has parameters of these names.

    Raises:
        UsageError: an option is wrong or does not fit the data.
    """
    task = instantiate(config["task"], "objective.task", spec=spec)
    context = {"spec": spec, "network": network, "task": task}
    objective: Objective = instantiate(config, "objective", context=context, task=task)
    return objective
