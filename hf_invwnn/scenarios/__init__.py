"""Forget sets: each scenario splits a dataset into a forget set and a retain set."""

from __future__ import annotations

from collections.abc import Callable

from .badnets import add_trigger, badnets, triggered_test_set
from .class_removal import class_removal
from .given_indices import given_indices
from .label_noise import CLEAN_LABEL_COLUMN, label_noise
from .overfitting import overfitting
from .random_subset import random_subset
from .splits import UnlearningSplits, hash_indices


SCENARIOS: dict[str, Callable[..., UnlearningSplits]] = {
    "random_subset": random_subset,
    "class_removal": class_removal,
    "label_noise": label_noise,
    "given_indices": given_indices,
    "overfitting": overfitting,
    "badnets": badnets,
}

__all__ = [
    "CLEAN_LABEL_COLUMN",
    "SCENARIOS",
    "UnlearningSplits",
    "add_trigger",
    "badnets",
    "class_removal",
    "given_indices",
    "hash_indices",
    "label_noise",
    "overfitting",
    "random_subset",
    "triggered_test_set",
]
