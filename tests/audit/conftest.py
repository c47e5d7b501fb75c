"""The finished run whose record, card and report are tested."""

from finished_runs import finished_run, marked_splits  # noqa: F401
