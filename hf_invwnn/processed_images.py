"""Images processed when they are asked for: for sets that do not fit into memory as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .image_tensors import ImageTensors


if TYPE_CHECKING:
    import datasets

# What a set may take as tensors in memory, in bytes.
IN_MEMORY = 2 * 2**30


class ProcessedImages(torch.utils.data.Dataset):
    """
    What [`ImageTensors`] gives, one image at a time from where the data set lies.

    Args:
        dataset (`datasets.Dataset`): With a column of PIL images and one of class ids.
        image_processor (`BaseImageProcessor`): What turns an image into `pixel_values`.
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
        if missing := sorted({image_column, label_column} - set(dataset.column_names)):
            raise ValueError(f"`dataset` has no column {missing}; it has {dataset.column_names}.")
        self.dataset, self.image_processor, self.image_column = dataset, image_processor, image_column
        self.labels = torch.tensor(dataset.with_format(None)[label_column][:], dtype=torch.long)

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
    The examples of a data set as a classifier takes them: as tensors in memory where they fit, else image by image.

    Args:
        dataset (`datasets.Dataset`), image_processor (`BaseImageProcessor`), image_column (`str`), label_column
            (`str`): As for [`ProcessedImages`].
        in_memory (`int`, defaults to 2 GiB): Bytes that the tensors may take.

    Raises:
        ValueError: A column is missing.
    """
    lazy = ProcessedImages(dataset, image_processor, image_column, label_column)
    if len(lazy) and lazy[0]["pixel_values"].nbytes * len(lazy) > in_memory:
        return lazy
    return ImageTensors.from_dataset(dataset, image_processor, image_column, label_column)


__all__ = ["IN_MEMORY", "ProcessedImages", "process_images"]
