"""Images in memory are what the image processor makes of them, in the order of the data set."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import ViTImageProcessorPil

from hf_invwnn.digits import digit_images
from hf_invwnn.image_tensors import ImageTensors


@pytest.fixture(scope="module")
def processor() -> ViTImageProcessorPil:
    return ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def test_pixels_and_labels_are_those_of_each_image(processor: ViTImageProcessorPil) -> None:
    _, test = digit_images()
    tensors = ImageTensors.from_dataset(test, processor, batch_size=64)
    assert len(tensors) == 500
    for index in (0, 63, 64, 499):
        expected = np.asarray(test[index]["image"].convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1
        torch.testing.assert_close(tensors[index]["pixel_values"], torch.from_numpy(expected))
        assert tensors[index]["labels"] == test[index]["label"]


def test_digits_are_split_by_the_seed_without_overlap() -> None:
    train, test = digit_images(seed=1)
    assert (len(train), len(test)) == (1297, 500)
    assert digit_images(seed=1)[1]["label"][:] == test["label"][:]
    assert digit_images(seed=2)[1]["label"][:] != test["label"][:]


def test_an_empty_data_set_has_no_examples(processor: ViTImageProcessorPil) -> None:
    train, _ = digit_images()
    assert len(ImageTensors.from_dataset(train.select([]), processor)) == 0


def test_a_missing_column_is_named(processor: ViTImageProcessorPil) -> None:
    train, _ = digit_images()
    with pytest.raises(ValueError, match=r"no column \['img'\]"):
        ImageTensors.from_dataset(train, processor, image_column="img")


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="`labels` must be as many"):
        ImageTensors(torch.zeros(3, 1, 2, 2), torch.zeros(2))
