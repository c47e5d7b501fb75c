"""The finished run that reports are made of."""

from finished_runs import finished_run, marked_splits  # noqa: F401
