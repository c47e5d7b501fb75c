"""ROUGE-L: how much of a reference text is in a generated one, in the same order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class RougeL(NamedTuple):
    """Three shares in 0..1: `recall` of the reference, `precision` of the answer, and their harmonic mean `f1`."""

    recall: float
    precision: float
    f1: float


def rouge_l(answer: str, reference: str) -> RougeL:
    r"""
    Recall, precision and F1 of the longest common subsequence of words.

        recall = LCS / |reference|      precision = LCS / |answer|      f1 = 2 recall precision / (recall + precision)

    Words are runs of `a-z` and `0-9` in the lowercase text, as in Google's `rouge_score` without stemming, so a text
    in another script has none. The equation is that of Lin (2004). TOFU (Maini et al., 2024, arXiv 2401.06121) reports
    the recall of answers; MUSE (Shi et al., 2024, arXiv 2407.06460) the F1 of continuations, as verbatim memorisation.
    On the forget set the goal is the value of a retrained model.

    Args:
        answer (`str`): The generated text. One without words is allowed and scores 0.
        reference (`str`): The true text.

    Raises:
        TypeError: One of them is not a string.
        ValueError: `reference` has no word.
    """
    words = {}
    for name, text in (("answer", answer), ("reference", reference)):
        if not isinstance(text, str):
            raise TypeError(f"`{name}` must be a string, got {type(text).__name__}; decode token ids first.")
        words[name] = re.findall("[a-z0-9]+", text.lower())
    if not words["reference"]:
        raise ValueError(
            f"`reference` must have a word of the letters a-z or digits, got {reference!r}; leave out empty answers."
        )
    common = _longest_common_subsequence(words["answer"], words["reference"])
    if common == 0:
        return RougeL(0.0, 0.0, 0.0)
    recall, precision = common / len(words["reference"]), common / len(words["answer"])
    return RougeL(recall, precision, 2 * recall * precision / (recall + precision))


def _longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    # lengths[j]: of the words of `first` so far and the first j of `second`.
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for j, other in enumerate(second, start=1):
            above = lengths[j]
            lengths[j] = diagonal + 1 if word == other else max(above, lengths[j - 1])
            diagonal = above
    return lengths[-1]


__all__ = ["RougeL", "rouge_l"]
