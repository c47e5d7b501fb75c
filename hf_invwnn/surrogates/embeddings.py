"""Surrogates of texts between two texts: mixes of the embeddings of their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .base import Answer, Inputs
from .pool import Teachers
from .tokens import KEY


class MixedEmbeddings:
    """
    Mixes `a E(x_i) + (1 - a) E(x_j)` of the token embeddings of two texts of a batch, place by place; where the other
    text has ended, that of the text itself. E are the embeddings of the original model, of which a copy is kept.

    Args:
        least (`float`, defaults to 0.3): Smallest share of either text; in [0, 0.5].

    Raises:
        ValueError: `least` is outside [0, 0.5].
    """

    name, forget_only = "mixed embeddings", True

    def __init__(self, least: float = 0.3) -> None:
        if not 0 <= least <= 0.5:
            raise ValueError(f"`least` is the smallest share of a text and must lie in [0, 0.5], got {least}.")
        self.least = least
        self.embeddings: torch.Tensor | None = None

    def check(self, model: Any, inputs: Mapping[str, Any]) -> None:
        """
        Raises:
            ValueError: The inputs are no texts, or the model has no embeddings of tokens.
        """
        if KEY not in inputs or not isinstance(_embeddings_of(model), nn.Embedding):
            raise ValueError(
                f"`surrogates` ({self.name}) need `{KEY}` and a model whose `get_input_embeddings` is an Embedding, "
                f"got {', '.join(inputs)} and {type(model).__name__}."
            )

    def prepare(self, teachers: Teachers) -> None:
        """Copies the embeddings of the original model; called when a recovery begins, and when it is resumed."""
        with torch.no_grad(), teachers.original():
            weight = _embeddings_of(teachers.model).weight.detach()
            self.embeddings = (weight.full_tensor() if hasattr(weight, "full_tensor") else weight).clone()

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        if self.embeddings is None:
            raise ValueError("`surrogates`: embeddings are copied when a recovery begins; there are none yet.")
        ids = inputs[KEY]
        mask = inputs.get("attention_mask", torch.ones_like(ids)).bool()
        order = torch.randperm(len(ids), generator=generator).to(ids.device)
        share = self.least + (1 - 2 * self.least) * torch.rand(len(ids), 1, generator=generator)
        share = share.to(self.embeddings).expand(ids.shape).masked_fill(~mask[order], 1.0)[..., None]
        embedded = self.embeddings[ids]
        others = {name: value for name, value in inputs.items() if name != KEY}
        return {**others, "inputs_embeds": share * embedded + (1 - share) * embedded[order]}


def _embeddings_of(model: Any) -> Any:
    return model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None


__all__ = ["MixedEmbeddings"]
