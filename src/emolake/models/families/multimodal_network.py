"""What the family "multimodal" computes beside the transcript: BERT's state of it, and the dense layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.tokenizers import check_type, load_tokenizer

# Of BERT's pre-training; the [CLS] state is taken before the pooler.
_OTHER_HEADS = ("cls.", "pooler.", "bert.pooler.")


class MultimodalHead(nn.Module):
    """Dense layers with GELU and dropout between them."""

    def __init__(self, sizes: Sequence[int], dropout: float) -> None:
        """Make layers of these widths, from the input's to the number of labels."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of text and sound [B, text + coefficients]."""
        for layer in self.layers[:-1]:
            features = self.dropout(functional.gelu(layer(features)))
        logits: torch.Tensor = self.layers[-1](features)
        return logits


class TextEncoder:
    """BERT with its tokenizer; `width` is that of its states."""

    def __init__(self, folder: Path) -> None:
        check_type(folder, "bert")
        from transformers import AutoModel

        self.model = speech_encoder.load_exactly(
            AutoModel, folder, other_heads=_OTHER_HEADS, add_pooling_layer=False
        )
        self._tokenizer = load_tokenizer(folder, ("tokenizer.json", "vocab.txt"))
        if len(self._tokenizer) > self.model.config.vocab_size:
            raise ConfigurationError(
                f"{folder} has a tokenizer of {len(self._tokenizer)} tokens, and its network knows "
                f"{self.model.config.vocab_size}; take both from one model"
            )
        self.width = int(self.model.config.hidden_size)

    def states(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the [CLS] state of each text, [B, width]; an empty text has one too, and one too long is cut off."""
        tokens = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=int(self.model.config.max_position_embeddings),
            return_tensors="pt",
        ).to(self.model.device)
        states: torch.Tensor = self.model(**tokens).last_hidden_state[:, 0]
        return states


@contextmanager
def on_device(model: nn.Module, device: str, *, keep_loaded: bool) -> Iterator[None]:
    """Have a large model on the device while it is used and, unless it is kept there, free the memory for the next."""
    with torch.inference_mode(False):  # weights that were moved within it could not be moved again outside
        model.to(device)
    try:
        yield
    finally:
        if not keep_loaded:
            with torch.inference_mode(False):
                model.to("cpu")
            if torch.device(device).type == "cuda":
                torch.cuda.empty_cache()
