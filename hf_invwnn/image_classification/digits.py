"""The handwritten digits of scikit-learn as data sets of images, without a download."""

from __future__ import annotations

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image


NUM_TEST_EXAMPLES = 500


def digit_images(seed: int = 0) -> tuple[Dataset, Dataset]:
    """
    1,297 training and 500 test images of 8 x 8 pixels, with the columns `image` and `label`.

    Args:
        seed (`int`, defaults to 0): Seed of the draw of the test images.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).astype(np.uint8)
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10)})
    everything = Dataset.from_dict({"image": list(images), "label": digits.target.tolist()}, features=features)
    parts = everything.train_test_split(test_size=NUM_TEST_EXAMPLES, seed=seed)
    return parts["train"], parts["test"]


__all__ = ["digit_images"]
