"""Small datasets whose rows can be told apart by their column `row`."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value


FEATURES = Features({"row": Value("int64"), "label": ClassLabel(names=["cat", "dog", "owl", "fox"])})


@pytest.fixture(autouse=True, scope="session")
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def _dataset(num_examples: int, first_row: int) -> Dataset:
    rows = np.arange(first_row, first_row + num_examples)
    return Dataset.from_dict({"row": rows, "label": rows % 4}, features=FEATURES)


@pytest.fixture
def train() -> Dataset:
    return _dataset(200, 0)


@pytest.fixture
def test() -> Dataset:
    return _dataset(60, 1000)
