"""Surrogates of texts that a language model writes itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .base import Inputs
from .pool import PooledSurrogates, Teachers, changed_answers


class OwnContinuations(PooledSurrogates):
    """
    Texts that the original model writes after neutral prompts, drawn from its own distribution. Those are left out
    whose probabilities the run changes most, because they tell what is to be forgotten.

    Args:
        prompts (`torch.Tensor` of shape `(P, L)`, *optional*): Token ids of prompts without the forgotten content,
            used in turn. By default the token that begins a text.
        count (`int`, defaults to 128): Number of texts.
        length (`int`, defaults to 48): Tokens that are written after a prompt.
        keep (`float`, defaults to 0.75): Share of the texts that is kept.
        seed (`int`, defaults to 0): Seed of the texts.

    Raises:
        ValueError: `length` or `count` is not positive, or `keep` outside (0, 1].
    """

    name = "own continuations"

    def __init__(
        self,
        prompts: torch.Tensor | None = None,
        count: int = 128,
        length: int = 48,
        keep: float = 0.75,
        seed: int = 0,
    ) -> None:
        super().__init__(count, keep, seed)
        if length < 1:
            raise ValueError(f"`length` must be positive, got {length}.")
        self.prompts, self.length = prompts, length

    def sample(self, model: nn.Module) -> Inputs:
        """
        Raises:
            ValueError: The model does not write texts, or there are no prompts and it has no token to begin with.
        """
        writer: Any = model
        if not hasattr(writer, "generate"):
            raise ValueError(f"`model`: {type(model).__name__} does not write texts; pass other surrogates.")
        device = next(model.parameters()).device
        prompts = self._prompts(writer).to(device)
        prompts = prompts[torch.arange(self.count, device=device) % len(prompts)]
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            torch.manual_seed(self.seed)
            ids = writer.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                top_k=0,
                max_new_tokens=self.length,
                min_new_tokens=self.length,
                pad_token_id=0,
            )
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def changes(self, teachers: Teachers, samples: Inputs) -> torch.Tensor:
        def answer(batch: Inputs) -> torch.Tensor:
            """The log-probability of each token that was written."""
            model: Any = teachers.model
            logs = model(**batch).logits[:, :-1].float().log_softmax(dim=-1)
            return logs.gather(2, batch["input_ids"][:, 1:, None])

        return changed_answers(teachers, samples, answer, batch_size=16)

    def _prompts(self, model: Any) -> torch.Tensor:
        if self.prompts is not None:
            return self.prompts
        begins = getattr(model.config, "bos_token_id", None)
        if begins is None:
            raise ValueError("`prompts` are needed: the configuration of the model has no `bos_token_id`.")
        return torch.tensor([[begins]])


__all__ = ["OwnContinuations"]
