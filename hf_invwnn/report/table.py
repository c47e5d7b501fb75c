"""The table of a run: RA, UA, TA, MIA and time of the pretrained, the unlearned and the retrained model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .results import METRICS, MODELS


if TYPE_CHECKING:
    from rich.table import Table

_MEANING = "Percent. RA, TA: retain, test accuracy. UA: 100 - forget\naccuracy. MIA: forget set called non-member."


def _rows(results: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for model in MODELS:
        if model in results:
            measured = results[model]
            seconds = f"{measured['seconds']:.0f}" if "seconds" in measured else ""
            rows.append([model, *(f"{measured[metric]:.2f}" for metric in METRICS), seconds])
    return rows


def results_table(results: Mapping[str, Any], title: str | None = None) -> Table:
    """
    A `rich` table of the models in `results` (see [`write_results`]).

    Args:
        results (`dict`): Model name -> metrics, and `seconds` where it was timed.
        title (`str`, *optional*): Stands above the table.
    """
    from rich.table import Table

    table = Table(title=title, caption=_MEANING, caption_justify="left")
    table.add_column("model")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    table.add_column("time (s)", justify="right")
    for row in _rows(results):
        table.add_row(*row)
    return table


def markdown_table(results: Mapping[str, Any]) -> str:
    """The same table in Markdown."""
    header = ["model", *METRICS, "seconds"]
    lines = [f"| {' | '.join(cells)} |" for cells in [header, ["---"] + ["---:"] * 5, *_rows(results)]]
    return "\n".join(lines)


__all__ = ["markdown_table", "results_table"]
