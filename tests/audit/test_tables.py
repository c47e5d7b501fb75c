"""Markdown tables."""

from __future__ import annotations

import pytest

from hf_invwnn.audit.tables import markdown_table, results_table


RESULTS = {
    "original": {"RA": 100.0, "UA": 1.0, "TA": 80.0, "MIA": 5.0, "seconds": 12.4},
    "unlearned": {"RA": 98.0, "UA": 75.0, "TA": 85.5, "MIA": 70.25, "seconds": 3.0},
}


def test_numbers_are_aligned_right_and_texts_left() -> None:
    assert markdown_table([["a", "b", "c"], ["x", "y", "1"]], text_columns=2).splitlines() == [
        "| a | b | c |",
        "| --- | --- | ---: |",
        "| x | y | 1 |",
    ]


def test_the_results_table_has_a_row_for_each_model_and_the_measured_numbers() -> None:
    lines = results_table(RESULTS).splitlines()
    assert lines == [
        "| model | RA | UA | TA | MIA | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| original | 100.00 | 1.00 | 80.00 | 5.00 | 12 |",
        "| unlearned | 98.00 | 75.00 | 85.50 | 70.25 | 3 |",
    ]


def test_a_model_that_was_not_timed_has_no_seconds() -> None:
    untimed = {"unlearned": {name: value for name, value in RESULTS["unlearned"].items() if name != "seconds"}}
    assert results_table(untimed).splitlines()[2] == "| unlearned | 98.00 | 75.00 | 85.50 | 70.25 |  |"


def test_a_result_that_lacks_a_metric_is_an_error() -> None:
    with pytest.raises(KeyError, match="MIA"):
        results_table({"unlearned": {"RA": 98.0, "UA": 75.0, "TA": 85.5}})
