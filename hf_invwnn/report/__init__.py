"""From results to what people look at: a table and a picture of the curves. Knows nothing of trainers."""

from .curves import plot_curves
from .equal_forgetting import at_ua
from .results import read_results, write_results
from .table import markdown_table, results_table


__all__ = ["at_ua", "markdown_table", "plot_curves", "read_results", "results_table", "write_results"]
