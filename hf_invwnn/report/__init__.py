"""From results to what people look at: a table and a picture of the curves. Knows nothing of trainers."""

from .class_activation import class_activation, plot_class_activation
from .comparison import (
    NOT_REACHED,
    comparison_table,
    cost_table,
    curve_table,
    plot_comparison,
    verdicts,
    write_comparison,
)
from .curves import plot_curves
from .equal_forgetting import at_ua
from .generated import GeneratedRow, forgetting_table, plot_forgetting, plot_generated
from .landscape import Landscape, landscape, plot_landscape
from .results import read_results, write_results
from .table import markdown_table, results_table


__all__ = [
    "NOT_REACHED",
    "GeneratedRow",
    "Landscape",
    "at_ua",
    "class_activation",
    "comparison_table",
    "cost_table",
    "curve_table",
    "forgetting_table",
    "landscape",
    "markdown_table",
    "plot_class_activation",
    "plot_comparison",
    "plot_curves",
    "plot_forgetting",
    "plot_generated",
    "plot_landscape",
    "read_results",
    "results_table",
    "verdicts",
    "write_comparison",
    "write_results",
]
