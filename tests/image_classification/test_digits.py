"""The handwritten digits of scikit-learn."""

from __future__ import annotations

from hf_invwnn.image_classification import digit_images


def test_digits_are_split_by_the_seed_without_overlap() -> None:
    train, test = digit_images(seed=1)
    assert (len(train), len(test)) == (1297, 500)
    assert digit_images(seed=1)[1]["label"][:] == test["label"][:]
    assert digit_images(seed=2)[1]["label"][:] != test["label"][:]
