"""Small datasets with the column `row`, which identifies their examples."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage


FEATURES = Features({"row": Value("int64"), "image": Image(), "label": ClassLabel(names=["cat", "dog", "owl", "fox"])})


@pytest.fixture(autouse=True, scope="session")
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def _dataset(num_examples: int, first_row: int) -> Dataset:
    rows = np.arange(first_row, first_row + num_examples)
    images = [PILImage.fromarray(np.full((8, 8), row % 200, np.uint8)) for row in rows]
    return Dataset.from_dict({"row": rows, "image": images, "label": rows % 4}, features=FEATURES)


@pytest.fixture
def train() -> Dataset:
    return _dataset(200, 0)


@pytest.fixture
def test() -> Dataset:
    return _dataset(60, 1000)
