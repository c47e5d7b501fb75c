"""Images and labels held in memory as tensors: the fastest data set for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch


if TYPE_CHECKING:
    import datasets


class ImageTensors(torch.utils.data.Dataset):
    """
    A data set of the form the Trainer wants for image classification.

    Args:
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): Ready for the model.
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
        Runs an image processor once over a whole data set.

        Args:
            dataset (`datasets.Dataset`): With a column of PIL images and one of class ids.
            image_processor (`BaseImageProcessor`): What turns images into `pixel_values`.
            image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.
            batch_size (`int`, defaults to 1000): Images processed at once.

        Raises:
            ValueError: A column is missing.
        """
        if missing := sorted({image_column, label_column} - set(dataset.column_names)):
            raise ValueError(f"`dataset` has no column {missing}; it has {dataset.column_names}.")
        pixels = [np.empty((0, 3, 1, 1), dtype=np.float32)] if len(dataset) == 0 else []
        for batch in dataset.iter(batch_size):
            images: Sequence[Any] = [image.convert("RGB") for image in batch[image_column]]
            pixels.append(np.asarray(image_processor(images, return_tensors="np")["pixel_values"], dtype=np.float32))
        labels = torch.tensor(dataset.with_format(None)[label_column][:], dtype=torch.long)
        return cls(torch.from_numpy(np.concatenate(pixels)), labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixel_values[index], "labels": self.labels[index]}


__all__ = ["ImageTensors"]
