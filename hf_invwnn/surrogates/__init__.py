"""Surrogates: inputs near the forget set, on which the answers of the original model are kept."""

from .base import Surrogates
from .continuations import OwnContinuations
from .dataset import UnlabelledExamples
from .embeddings import MixedEmbeddings
from .images import AdversarialImages, MixedImages, NoisyImages, ShiftedImages
from .registry import SURROGATES, find_surrogates
from .tokens import EditedTokens


__all__ = [
    "SURROGATES",
    "AdversarialImages",
    "EditedTokens",
    "MixedEmbeddings",
    "MixedImages",
    "NoisyImages",
    "OwnContinuations",
    "ShiftedImages",
    "Surrogates",
    "UnlabelledExamples",
    "find_surrogates",
]
