"""How much of a text a causal language model still gives back word for word."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import integer_array
from .token_log_probs import IGNORED, as_numpy, label_array


def common_prefix(generated: Any, reference: Any) -> int:
    """
    Number of leading tokens that are the same.

    Args:
        generated (sequence of `int`): Token ids of a greedy continuation, without the prompt. May be empty.
        reference (sequence of `int`): Token ids of the true continuation.

    Returns:
        `int`: In 0..len(reference). On the forget set the goal is the value of a retrained model.

    Raises:
        ValueError: One of them is not a flat list of integers, or `reference` is empty.
    """
    ours, true = (
        integer_array(as_numpy(tokens), name) for name, tokens in (("generated", generated), ("reference", reference))
    )
    if len(true) == 0:
        raise ValueError("`reference` must have a token or more, got none; leave out empty answers.")
    length = min(len(ours), len(true))
    different = np.flatnonzero(ours[:length] != true[:length])
    return int(different[0]) if len(different) else length


def extracted_share(generated: Any, reference: Any) -> float:
    """
    Share of the true continuation that is generated before the first wrong token, `common_prefix / len(reference)`.

    Args:
        generated (sequence of `int`): Token ids of a greedy continuation, without the prompt. May be empty.
        reference (sequence of `int`): Token ids of the true continuation.

    Returns:
        `float`: In 0..1.

    Raises:
        ValueError: One of them is not a flat list of integers, or `reference` is empty.
    """
    return common_prefix(generated, reference) / len(reference)


def exact_match(generated: Any, reference: Any) -> bool:
    """
    Whether the whole true continuation is generated; tokens after it do not matter.

    Such a text is extractable with its prompt, in the sense of Carlini et al. (2021, arXiv 2012.07805; 2022, arXiv
    2202.07646).

    Args:
        generated (sequence of `int`): Token ids of a greedy continuation, without the prompt. May be empty.
        reference (sequence of `int`): Token ids of the true continuation.

    Raises:
        ValueError: One of them is not a flat list of integers, or `reference` is empty.
    """
    return common_prefix(generated, reference) == len(reference)


def extraction_strength(predictions: Any, labels: Any) -> np.ndarray:
    r"""
    Share of each answer that the model completes by itself, after the rest of the answer is given to it.

        ES = 1 - k / |a|,   k the smallest number with  greedy(q, a_<k) = a_k, a_k+1, ...

    The most likely tokens under teacher forcing suffice: greedy decoding from a prefix gives the rest if and only if
    every prediction of the rest is right. It is 0 if the last token is predicted wrongly, where OpenUnlearning has
    `1 / |a|`, and 1 if the prompt alone suffices. The measure is that of Wang et al. (2025, arXiv 2406.09179), after
    Carlini et al. (2021, arXiv 2012.07805). On the forget set the goal is the value of a retrained model.

    Args:
        predictions (`np.ndarray` or `torch.Tensor` of shape `(N, L)`): `logits.argmax(-1)`, not shifted: position
            `t - 1` predicts the label at position `t`.
        labels (`np.ndarray` or `torch.Tensor` of shape `(N, L)`): Token ids, -100 where nothing is predicted.

    Returns:
        `np.ndarray` of shape `(N,)`: In 0..1.

    Raises:
        ValueError: Shapes differ, they are no integers, or an example has no label.
    """
    targets, tokens = label_array(labels), as_numpy(predictions)
    if tokens.shape != targets.shape or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"`predictions` must be token ids of the shape of `labels`, {targets.shape}, got shape {tokens.shape} and "
            f"dtype {tokens.dtype}; pass `logits.argmax(-1)`."
        )
    labelled = targets[:, 1:] != IGNORED
    wrong = labelled & (tokens[:, :-1] != targets[:, 1:])
    # Labelled tokens after the last wrong one: those with no wrong one from their own position on.
    completed = labelled & (np.cumsum(wrong[:, ::-1], axis=1)[:, ::-1] == 0)
    return completed.sum(axis=1) / labelled.sum(axis=1)


__all__ = ["common_prefix", "exact_match", "extracted_share", "extraction_strength"]
