"""The finished run that commands take."""

from finished_runs import finished_run, marked_splits  # noqa: F401
