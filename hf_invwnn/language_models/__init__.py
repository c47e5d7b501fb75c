"""Causal language models: texts with labels, loading, and what a model still says."""

from .evaluate import TextReport, evaluate_texts
from .loading import load_language_model, with_adapter
from .texts import TextExample, read_texts
from .tokenizing import tokenize_texts


__all__ = [
    "TextExample",
    "TextReport",
    "evaluate_texts",
    "load_language_model",
    "read_texts",
    "tokenize_texts",
    "with_adapter",
]
