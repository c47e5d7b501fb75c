"""Scripts for `evaluate.load`, which copies each to a cache; so their imports are absolute."""
