"""What a language model still says of texts: losses, probabilities of answers, and verbatim extraction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..metrics import answer_log_probs, answer_loss, answer_probability, extracted_share, perplexity
from ..metrics.token_log_probs import IGNORED


@dataclass(frozen=True)
class TextReport:
    """
    Measurements of N texts.

    Attributes:
        log_probs (`list[np.ndarray]`): Log-probabilities of the tokens of each answer, see [`answer_log_probs`].
        extracted (`list[float]`): Share of the answer after its first `prefix` tokens that greedy decoding gives
            before its first error; 0 to 1. Answers that are not longer than the prefix have none.
    """

    log_probs: list[np.ndarray]
    extracted: list[float]

    @property
    def loss(self) -> float:
        """Mean of the losses of the texts, in nats a token."""
        return float(answer_loss(self.log_probs).mean())

    @property
    def perplexity(self) -> float:
        """exp of the mean loss over all tokens; long answers count more."""
        return perplexity(self.log_probs)

    @property
    def probability(self) -> float:
        """Mean of P(answer | prompt)^(1 / tokens), see [`answer_probability`]."""
        return float(answer_probability(self.log_probs).mean())

    @property
    def extraction(self) -> float:
        """Mean of `extracted`; `nan` if no answer is longer than the prefix."""
        return sum(self.extracted) / len(self.extracted) if self.extracted else math.nan

    def summary(self) -> dict[str, float]:
        """The four figures by name."""
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "probability": self.probability,
            "extraction": self.extraction,
        }


def evaluate_texts(
    model: nn.Module,
    texts: Any,
    collate: Callable[[Sequence[Any]], Any],
    prefix: int = 5,
    batch_size: int = 8,
) -> TextReport:
    """
    Evaluates a causal language model on texts.

    Greedy decoding from a prefix agrees with the argmax under the true text up to its first error, so that one forward
    pass measures extraction (as verbatim memorisation in Carlini et al. 2021) and nothing is generated.

    Args:
        model (`nn.Module`): The model; left in the mode it was in.
        texts (`Dataset`): Rows as of [`tokenize_texts`].
        collate (`Callable`): Pads a batch, with labels of -100.
        prefix (`int`, defaults to 5): Tokens of an answer that are given to the model before it must go on.
        batch_size (`int`, defaults to 8): Texts in a forward pass.

    Raises:
        ValueError: There are no texts, or an argument is out of range.
    """
    if len(texts) == 0:
        raise ValueError("`texts` is empty.")
    if prefix < 0 or batch_size < 1:
        raise ValueError(f"`prefix` must be 0 or more and `batch_size` positive, got {prefix} and {batch_size}.")
    report = TextReport([], [])
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    try:
        for start in range(0, len(texts), batch_size):
            rows = [texts[place] for place in range(start, min(start + batch_size, len(texts)))]
            _add(report, model, {name: value.to(device) for name, value in collate(rows).items()}, prefix)
    finally:
        model.train(was_training)
    return report


@torch.no_grad()
def _add(report: TextReport, model: nn.Module, batch: dict[str, torch.Tensor], prefix: int) -> None:
    labels = batch.pop("labels")
    logits = model(**batch).logits
    report.log_probs.extend(answer_log_probs(logits, labels))
    for guesses, answer in zip(logits[:, :-1].argmax(dim=-1), labels[:, 1:], strict=True):
        counted = answer != IGNORED
        rest = answer[counted][prefix:]
        if len(rest):
            report.extracted.append(extracted_share(guesses[counted][prefix:], rest))


__all__ = ["TextReport", "evaluate_texts"]
