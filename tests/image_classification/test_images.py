"""Processed images have the pixels and labels of the data set, in its order, in memory or one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import ViTImageProcessorPil

from hf_invwnn.image_classification import ImageTensors, ProcessedImages, digit_images, process_images


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


# ---- One by one ----


def test_images_that_do_not_fit_into_memory_are_processed_when_they_are_read(processor: ViTImageProcessorPil) -> None:
    _, test = digit_images()
    test = test.select(range(60))
    stored = process_images(test, processor)
    assert isinstance(stored, ImageTensors)
    size = stored.pixel_values.nbytes
    assert isinstance(process_images(test, processor, in_memory=size), ImageTensors)
    lazy = process_images(test, processor, in_memory=size - 1)
    assert isinstance(lazy, ProcessedImages) and len(lazy) == 60
    assert torch.equal(lazy.labels, stored.labels)
    for index in range(60):
        assert torch.equal(lazy[index]["pixel_values"], stored[index]["pixel_values"])
        assert lazy[index]["labels"] == stored[index]["labels"]
    with pytest.raises(ValueError, match=r"no column \['img'\]"):
        process_images(test, processor, image_column="img")
