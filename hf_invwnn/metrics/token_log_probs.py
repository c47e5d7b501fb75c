"""Log-probabilities that a causal language model gives to the tokens of an answer, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


# The label of a token that is not predicted: the prompt, padding.
IGNORED = -100


def as_numpy(values: Any) -> np.ndarray:
    """A tensor of any device and dtype, an array or a list, as an array; half precision becomes float32."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point() and values.element_size() < 4:
            values = values.float()
        values = values.numpy()
    return np.asarray(values)


def label_array(labels: Any) -> np.ndarray:
    """
    The labels as an int64 array in which every example has a token to predict.

    Args:
        labels (`np.ndarray` or `torch.Tensor` of shape `(N, L)`): Token ids, -100 where nothing is predicted.

    Raises:
        ValueError: They are no integers of this shape, there is no example, or an example has no label after its first
            position, which nothing predicts.
    """
    array = as_numpy(labels)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be token ids of shape (N, L) with at least one example, got shape {array.shape} and dtype "
            f"{array.dtype}."
        )
    array = array.astype(np.int64)
    empty = np.flatnonzero((array[:, 1:] == IGNORED).all(axis=1))
    if len(empty):
        raise ValueError(
            f"`labels` must have a token to predict in every example, but example {empty[0]} has only -100 after its "
            f"first position ({len(empty)} such examples); leave out empty answers."
        )
    return array


def labelled_log_probs(logits: Any, labels: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """
    For each example, log-probabilities of all tokens at the positions that predict a label, and the labels there.

    The logits at position `t - 1` predict the label at position `t`. Examples are converted one by one, so memory in
    float64 is that of one example.

    Args:
        logits (`np.ndarray` or `torch.Tensor` of shape `(N, L, V)`): Unnormalised scores of the next token.
        labels (`np.ndarray` or `torch.Tensor` of shape `(N, L)`): Token ids, -100 where nothing is predicted.

    Yields:
        `tuple[np.ndarray, np.ndarray]`: Shapes `(T, V)` in nats and `(T,)`, T the labelled tokens of the example.

    Raises:
        ValueError: Shapes differ, an example has no label, a label is not in 0..V-1, or a label has no finite
            log-probability.
    """
    if not hasattr(logits, "detach"):
        logits = np.asarray(logits)
    targets = label_array(labels)
    if logits.ndim != 3 or tuple(logits.shape[:2]) != targets.shape or logits.shape[2] == 0:
        raise ValueError(
            f"`logits` must have the shape (N, L, V) for `labels` of shape (N, L), got {tuple(logits.shape)} and "
            f"{targets.shape}."
        )
    vocabulary = logits.shape[2]
    labelled = targets != IGNORED
    unknown = targets[labelled & ((targets < 0) | (targets >= vocabulary))]
    if len(unknown):
        raise ValueError(
            f"`labels` must lie in 0..{vocabulary - 1} for logits of {vocabulary} tokens, or be -100 where nothing is "
            f"predicted, got {unknown[0]}."
        )
    for example, (row, mask) in enumerate(zip(targets[:, 1:], labelled[:, 1:], strict=True)):
        scores = as_numpy(logits[example])[:-1][mask].astype(np.float64)
        with np.errstate(invalid="ignore"):
            scores -= scores.max(axis=1, keepdims=True)
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        if not np.isfinite(scores[np.arange(len(scores)), row[mask]]).all():
            raise ValueError(
                f"`logits` must give each label a finite log-probability, but those of example {example} do not; did "
                "the model diverge?"
            )
        yield scores, row[mask]


def answer_log_probs(logits: Any, labels: Any) -> list[np.ndarray]:
    r"""
    Log-probability of each labelled token, `log p(a_t | q, a_<t)`.

    The logits at position `t - 1` predict the label at position `t`, as in the loss of `transformers`: pass both as
    the model returns and takes them. A label at position 0 is not predicted by anything and is left out.

    Args:
        logits (`np.ndarray` or `torch.Tensor` of shape `(N, L, V)`): Unnormalised scores of the next token, from a
            model in eval mode.
        labels (`np.ndarray` or `torch.Tensor` of shape `(N, L)`): Token ids, -100 where nothing is predicted.

    Returns:
        `list[np.ndarray]`: For each example an array of shape `(T,)` in nats, T its number of labelled tokens.

    Raises:
        ValueError: Shapes differ, an example has no label, a label is not in 0..V-1, or a label has no finite
            log-probability.
    """
    return [scores[np.arange(len(row)), row] for scores, row in labelled_log_probs(logits, labels)]


def answer_loss(log_probs: Sequence[Any]) -> np.ndarray:
    r"""
    Mean negative log-probability of the tokens of each answer, `-(1 / |a|) log p(a | q)`.

    Args:
        log_probs (`Sequence[np.ndarray]`): For each example the log-probabilities of its tokens, of shape `(T,)` in
            nats; from [`~hf_invwnn.metrics.answer_log_probs`].

    Returns:
        `np.ndarray` of shape `(N,)`: In nats per token, at least 0.

    Raises:
        ValueError: There is no example, an example has no token, or a log-probability is not finite or above 0.
    """
    return np.array([-row.mean() for row in checked_log_probs(log_probs)])


def answer_probability(log_probs: Sequence[Any]) -> np.ndarray:
    r"""
    Probability of each answer, normalised by its length, `p(a | q)^(1 / |a|)`.

    It is the geometric mean of the probabilities of the tokens, so long and short answers can be compared. Section
    2.2 of TOFU (Maini et al., 2024, arXiv 2401.06121).

    Args:
        log_probs (`Sequence[np.ndarray]`): For each example the log-probabilities of its tokens, of shape `(T,)` in
            nats; from [`~hf_invwnn.metrics.answer_log_probs`].

    Returns:
        `np.ndarray` of shape `(N,)`: In 0..1. The goal is low on the forget set and high elsewhere.

    Raises:
        ValueError: There is no example, an example has no token, or a log-probability is not finite or above 0.
    """
    return np.exp(-answer_loss(log_probs))


def perplexity(log_probs: Sequence[Any]) -> float:
    r"""
    Perplexity of all texts together, `exp(-(1 / T) sum over tokens of log p)`, T the tokens of all texts.

    A long text weighs more than a short one. It is not the mean of the perplexities of the texts.

    Args:
        log_probs (`Sequence[np.ndarray]`): For each text the log-probabilities of its tokens, of shape `(T,)` in
            nats; from [`~hf_invwnn.metrics.answer_log_probs`].

    Returns:
        `float`: At least 1; infinite for a mean loss above 709 nats.

    Raises:
        ValueError: There is no text, a text has no token, or a log-probability is not finite or above 0.
    """
    with np.errstate(over="ignore"):
        return float(np.exp(-np.concatenate(checked_log_probs(log_probs)).mean()))


def checked_log_probs(log_probs: Sequence[Any]) -> list[np.ndarray]:
    """Each example's log-probabilities as float64; raises an error for what cannot be one."""
    rows = [as_numpy(row) for row in log_probs]
    if not rows:
        raise ValueError("`log_probs` is empty: there is nothing to measure.")
    for example, row in enumerate(rows):
        if row.ndim != 1 or len(row) == 0 or row.dtype.kind not in "iuf":
            raise ValueError(
                f"`log_probs` must hold an array of shape (T,) with a token or more for each example, got shape "
                f"{row.shape} and dtype {row.dtype} for example {example}; leave out empty answers."
            )
        # In float32, rounding can put the log-probability of a certain token a little above 0.
        bad = row[~(np.isfinite(row) & (row <= 1e-5))]
        if len(bad):
            raise ValueError(
                f"`log_probs` must be finite and at most 0, got {bad[0]} in example {example}; pass logarithms of "
                "probabilities, and not losses or probabilities."
            )
    return [np.minimum(row.astype(np.float64), 0) for row in rows]


__all__ = ["answer_log_probs", "answer_loss", "answer_probability", "perplexity"]
