"""Scripts for `evaluate.load`, which copies each one on its own: they import from the installed package only."""
