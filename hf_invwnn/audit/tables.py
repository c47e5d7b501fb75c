"""Markdown tables: the general form, and the table of the three models of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.catalogue import METRICS, MODELS, metrics_in


RESULT_METRICS = metrics_in("results")
# For the line below the table in a terminal; shorter than the sentences of the catalogue.
LEGEND = """Percent. RA, TA: accuracy on retained and test examples. UA: 100 - accuracy on the forget set. MIA: share
of the forget set that a membership attack classifies as non-member."""


def markdown_table(rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """
    A table in Markdown.

    Args:
        rows (`Sequence[Sequence[str]]`): The heading, then the rows; all of one length.
        text_columns (`int`, defaults to 1): Number of left-aligned columns; the columns after them are numbers.
    """
    heading, *body = rows
    ruler = ["---" if column < text_columns else "---:" for column in range(len(heading))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, ruler, *body))


def results_table(results: Mapping[str, Any]) -> str:
    """
    The main metrics and the seconds of the original, the unlearned and the retrained model, in Markdown.

    Args:
        results (`dict`): Model name -> metrics, and `seconds` if it was timed. Missing models are left out.
    """
    rows = [["model", *(METRICS[name].title for name in RESULT_METRICS), "seconds"]]
    for model in MODELS:
        if model in results:
            metrics = results[model]
            seconds = f"{metrics['seconds']:.0f}" if "seconds" in metrics else ""
            rows.append([model, *(METRICS[name].format(metrics[name]) for name in RESULT_METRICS), seconds])
    return markdown_table(rows)


__all__ = ["LEGEND", "RESULT_METRICS", "markdown_table", "results_table"]
