"""The command line, `hf-invwnn`: one module for each command, imported when the command runs."""
