"""The finished run whose saved files are tested."""

from finished_runs import finished_run, marked_splits  # noqa: F401
