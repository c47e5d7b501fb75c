"""Images as inputs of a classifier: processed once and stored in memory, or processed when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch


if TYPE_CHECKING:
    import datasets

# Largest size of processed images in memory, in bytes.
IN_MEMORY = 2 * 2**30


class ImageTensors(torch.utils.data.Dataset):
    """
    Processed images and labels in memory, as a data set for the Trainer.

    Args:
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): Inputs of the model.
        labels (`torch.Tensor` of shape `(N,)`): Class ids.

    Raises:
        ValueError: The two differ in length.
    """

    def __init__(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> None:
        if len(pixel_values) != len(labels):
            raise ValueError(f"`labels` must be as many as `pixel_values` ({len(pixel_values)}), got {len(labels)}.")
        self.pixel_values, self.labels = pixel_values, labels

    @classmethod
    def from_dataset(
        cls,
        dataset: datasets.Dataset,
        image_processor: Any,
        image_column: str = "image",
        label_column: str = "label",
        batch_size: int = 1000,
    ) -> ImageTensors:
        """
        Processes all images of a data set.

        Args:
            dataset (`datasets.Dataset`): A data set with a column of PIL images and one of class ids.
            image_processor (`BaseImageProcessor`): Turns images into `pixel_values`.
            image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.
            batch_size (`int`, defaults to 1000): Images in a call of the processor.

        Raises:
            ValueError: A column is missing.
        """
        _check_columns(dataset, image_column, label_column)
        pixels = [np.empty((0, 3, 1, 1), dtype=np.float32)] if len(dataset) == 0 else []
        for batch in dataset.iter(batch_size):
            images: Sequence[Any] = [image.convert("RGB") for image in batch[image_column]]
            pixels.append(np.asarray(image_processor(images, return_tensors="np")["pixel_values"], dtype=np.float32))
        labels = _labels(dataset, label_column)
        return cls(torch.from_numpy(np.concatenate(pixels)), labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixel_values[index], "labels": self.labels[index]}


class ProcessedImages(torch.utils.data.Dataset):
    """
    A data set like [`ImageTensors`] that processes each image when it is read.

    Args:
        dataset (`datasets.Dataset`): A data set with a column of PIL images and one of class ids.
        image_processor (`BaseImageProcessor`): Turns an image into `pixel_values`.
        image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.

    Raises:
        ValueError: A column is missing.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        image_processor: Any,
        image_column: str = "image",
        label_column: str = "label",
    ) -> None:
        _check_columns(dataset, image_column, label_column)
        self.dataset, self.image_processor, self.image_column = dataset, image_processor, image_column
        self.labels = _labels(dataset, label_column)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = self.dataset[int(index)][self.image_column].convert("RGB")
        pixels = np.asarray(self.image_processor(image, return_tensors="np")["pixel_values"][0], dtype=np.float32)
        return {"pixel_values": torch.from_numpy(pixels), "labels": self.labels[index]}


def process_images(
    dataset: datasets.Dataset,
    image_processor: Any,
    image_column: str = "image",
    label_column: str = "label",
    in_memory: int = IN_MEMORY,
) -> ImageTensors | ProcessedImages:
    """
    A data set as inputs of a classifier: in memory if it fits, otherwise processed when it is read.

    Args:
        dataset (`datasets.Dataset`), image_processor (`BaseImageProcessor`), image_column (`str`), label_column
            (`str`): As for [`ProcessedImages`].
        in_memory (`int`, defaults to 2 GiB): Largest size of processed images in memory, in bytes.

    Raises:
        ValueError: A column is missing.
    """
    lazy = ProcessedImages(dataset, image_processor, image_column, label_column)
    if len(lazy) and lazy[0]["pixel_values"].nbytes * len(lazy) > in_memory:
        return lazy
    return ImageTensors.from_dataset(dataset, image_processor, image_column, label_column)


def _check_columns(dataset: datasets.Dataset, *columns: str) -> None:
    if missing := sorted(set(columns) - set(dataset.column_names)):
        raise ValueError(f"`dataset` has no column {missing}; it has {dataset.column_names}.")


def _labels(dataset: datasets.Dataset, label_column: str) -> torch.Tensor:
    return torch.tensor(dataset.with_format(None)[label_column][:], dtype=torch.long)


__all__ = ["IN_MEMORY", "ImageTensors", "ProcessedImages", "process_images"]
