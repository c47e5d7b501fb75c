"""Images of a data set become tensors in [-1, 1], and data sets that do not fit the UNet are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Image, Value
from diffusers import UNet2DModel

from hf_invwnn.diffusion import DiffusionImages, check_images, to_images


def dataset_of(*arrays: np.ndarray) -> Dataset:
    features = Features({"image": Image(), "label": Value("int64")})
    return Dataset.from_dict({"image": list(arrays), "label": list(range(len(arrays)))}, features=features)


def test_black_is_minus_one_and_white_is_one() -> None:
    array = np.zeros((8, 8), dtype=np.uint8)
    array[0, 1] = 255
    images = DiffusionImages.from_dataset(dataset_of(array))
    assert images.pixel_values.shape == (1, 1, 8, 8)
    assert images.pixel_values[0, 0, 0, 1] == 1
    assert images.pixel_values.sum() == 1 - 63


def test_every_grey_level_survives_the_round_trip() -> None:
    array = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = np.stack([array, array.T, 255 - array], axis=-1)
    for original in (array, colours):
        (picture,) = to_images(DiffusionImages.from_dataset(dataset_of(original)).pixel_values)
        assert np.array_equal(np.asarray(picture), original)


def test_labels_become_class_labels_and_images_are_resized_only_when_asked() -> None:
    dataset = dataset_of(*np.random.default_rng(0).integers(0, 255, (3, 8, 8), dtype=np.uint8))
    images = DiffusionImages.from_dataset(dataset, label_column="label", size=4)
    assert images.pixel_values.shape == (3, 1, 4, 4)
    assert images[2]["class_labels"] == 2
    assert torch.equal(images.select([2]).pixel_values[0], images[2]["pixel_values"])


def test_a_data_set_without_images_of_one_shape_is_refused() -> None:
    small, large = np.zeros((8, 8), dtype=np.uint8), np.zeros((9, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="different height, width or channels"):
        DiffusionImages.from_dataset(dataset_of(small, large))
    with pytest.raises(ValueError, match=r"`dataset` has no column \['picture'\]"):
        DiffusionImages.from_dataset(dataset_of(small), "picture")
    with pytest.raises(ValueError, match="`dataset` is empty"):
        DiffusionImages.from_dataset(dataset_of(small).select([]))
    with pytest.raises(ValueError, match=r"`class_labels` must be as long as `pixel_values` \(2\), got 3"):
        DiffusionImages(torch.zeros(2, 1, 8, 8), class_labels=torch.zeros(3))


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"pixel_values": torch.zeros(1, 9, 8)}, "9 x 8 pixels and 1 channel, but the UNet takes 8 x 8"),
        ({"pixel_values": torch.zeros(3, 8, 8)}, "3 channels, but the UNet takes 8 x 8 pixels and 1 channel;"),
        ({"image": torch.zeros(1, 8, 8)}, "must return dictionaries with `pixel_values`"),
        ({"pixel_values": torch.zeros(1, 8, 8), "class_labels": torch.tensor(0)}, "not class-conditional"),
    ],
)
def test_examples_that_do_not_fit_the_unet_are_refused(
    example: dict, message: str, make_unet: Callable[..., UNet2DModel]
) -> None:
    with pytest.raises(ValueError, match=f"`forget_dataset`.*{message}"):
        check_images("forget_dataset", [example], make_unet())


def test_class_labels_must_be_present_and_known(make_unet: Callable[..., UNet2DModel]) -> None:
    unet, pixels = make_unet(num_class_embeds=3), torch.zeros(2, 1, 8, 8)
    check_images("x", DiffusionImages(pixels, class_labels=torch.tensor([0, 2])), unet)
    with pytest.raises(ValueError, match="has no `class_labels`"):
        check_images("x", DiffusionImages(pixels), unet)
    for dataset in (
        DiffusionImages(pixels, class_labels=torch.tensor([0, 3])),
        [{"pixel_values": pixels[0], "class_labels": torch.tensor(label)} for label in (0, 3)],
    ):
        with pytest.raises(ValueError, match=r"class labels 0\.\.3, but the UNet knows 0\.\.2"):
            check_images("x", dataset, unet)
