"""Surrogates of texts: tokens dropped, swapped and replaced by other tokens of the batch."""

from __future__ import annotations

import torch

from .base import Answer, Inputs


KEY = "input_ids"


class EditedTokens:
    """
    Texts in which some tokens are replaced by tokens of the same text (a swap) or of another text of the batch. The
    length, the padding and the first token stay.

    Args:
        share (`float`, defaults to 0.3): Share of the tokens to replace; in (0, 1].

    Raises:
        ValueError: `share` is outside (0, 1].
    """

    name, forget_only = "edited texts", True

    def __init__(self, share: float = 0.3) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"`share` must lie in (0, 1], got {share}.")
        self.share = share

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        ids = inputs[KEY].cpu()
        mask = inputs.get("attention_mask", torch.ones_like(inputs[KEY])).cpu().bool()
        rows, length = ids.shape
        # A token is replaced by that at a random place of its own or of another text; a place of padding changes none.
        other = torch.randint(rows, (rows, length), generator=generator)
        own = torch.rand(rows, length, generator=generator) < 0.5
        source = torch.where(own, torch.arange(rows)[:, None], other)
        place = torch.randint(length, (rows, length), generator=generator)
        chosen = torch.rand(rows, length, generator=generator) < self.share
        chosen &= mask & mask[source, place]
        chosen[:, 0] = False
        return {**inputs, KEY: torch.where(chosen, ids[source, place], ids).to(inputs[KEY].device)}


__all__ = ["EditedTokens"]
