"""Records, private artifacts, cards, reports and verification of runs."""

from .charts import plot_curves
from .private import example_results, save_private_artifacts
from .publish import pipeline_contents, run_contents
from .record import make_record, read_record, write_record
from .report import write_report
from .tables import markdown_table, results_table
from .verify import Finding, verify_run


__all__ = [
    "Finding",
    "example_results",
    "make_record",
    "markdown_table",
    "pipeline_contents",
    "plot_curves",
    "read_record",
    "results_table",
    "run_contents",
    "save_private_artifacts",
    "verify_run",
    "write_record",
    "write_report",
]
