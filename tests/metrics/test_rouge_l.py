"""ROUGE-L against all subsequences, and numbers computed by hand."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from hf_invwnn.metrics import rouge_l


def brute_lcs(first: list[str], second: list[str]) -> int:
    """The longest of all subsequences of one text that is one of the other."""
    subsequences = [
        {words for length in range(len(text) + 1) for words in combinations(text, length)} for text in (first, second)
    ]
    return max(len(words) for words in subsequences[0] & subsequences[1])


def test_shares_are_those_of_all_subsequences() -> None:
    draw = random.Random(8)
    for _ in range(60):
        answer, reference = ([draw.choice("abcd") for _ in range(draw.randint(1, 8))] for _ in range(2))
        common = brute_lcs(answer, reference)
        found = rouge_l(" ".join(answer), " ".join(reference))
        assert found.recall == pytest.approx(common / len(reference))
        assert found.precision == pytest.approx(common / len(answer))
        # The harmonic mean of the two shares, simplified.
        assert found.f1 == pytest.approx(2 * common / (len(answer) + len(reference)))


@pytest.mark.parametrize(
    ("answer", "reference", "recall", "precision"),
    [
        ("the cat sat", "the cat sat", 1, 1),
        ("The cat -- SAT!", "the cat sat", 1, 1),
        ("police kill the gunman", "police killed the gunman", 3 / 4, 3 / 4),
        ("gunman the kill police", "police killed the gunman", 1 / 4, 1 / 4),
        ("a cat sat there on the mat", "the cat sat on it", 3 / 5, 3 / 7),
        ("born in 1980", "1980", 1, 1 / 3),
        ("don't", "don t", 1, 1),
        ("naïve", "na ve", 1, 1),
        ("unrelated", "the cat", 0, 0),
        ("", "the cat", 0, 0),
        ("…", "the cat", 0, 0),
    ],
)
def test_numbers_computed_by_hand(answer: str, reference: str, recall: float, precision: float) -> None:
    assert rouge_l(answer, reference)[:2] == pytest.approx((recall, precision))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`reference` must have a word .* got '  \.\.\.'; leave out empty answers"):
        rouge_l("a cat", "  ...")
    with pytest.raises(TypeError, match="`answer` must be a string, got list; decode token ids first"):
        rouge_l([1, 2], "a cat")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`reference` must be a string, got NoneType"):
        rouge_l("a cat", None)  # type: ignore[arg-type]
