"""What recovery is made of: the two terms of its loss, copies of weights that answer, and what a model answers."""
