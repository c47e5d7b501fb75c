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
            ValueError: A column is missing, holds something else than images, or a label is not a whole number.
        """
        _check_columns(dataset, image_column, label_column)
        labels = _labels(dataset, label_column)
        pixels = [np.empty((0, 3, 1, 1), dtype=np.float32)] if len(dataset) == 0 else []
        for batch in dataset.iter(batch_size):
            mode = image_mode(image_processor)
            images: Sequence[Any] = [eight_bits(image, image_column, mode) for image in batch[image_column]]
            pixels.append(np.asarray(image_processor(images, return_tensors="np")["pixel_values"], dtype=np.float32))
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
        raw = self.dataset[int(index)][self.image_column]
        image = eight_bits(raw, self.image_column, image_mode(self.image_processor))
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


def image_mode(image_processor: Any) -> str:
    """`"L"` for a processor of one channel, otherwise `"RGB"`."""
    mean = getattr(image_processor, "image_mean", None)
    return "L" if isinstance(mean, (list, tuple)) and len(mean) == 1 else "RGB"


def eight_bits(image: Any, column: str = "image", mode: str = "RGB") -> Any:
    """
    An image with 8 bits per channel. 16-bit and 32-bit grey levels are scaled; `Image.convert` would clip them at 255.

    Args:
        image (`PIL.Image.Image`): The image. Whole numbers beyond 255 are of 16 bits, numbers with a point lie in
            0..1 or in 0..255.
        column (`str`, defaults to `"image"`): Its column, for errors.
        mode (`str`, defaults to `"RGB"`): `"RGB"` or `"L"`.

    Raises:
        ValueError: It is not an image, or has values that are negative, not finite, or beyond 16 bits.
    """
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise ValueError(f"`image_column`: {column!r} holds a {type(image).__name__} and not an image.")
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, dtype=np.float64)
        low, high = (float(levels.min()), float(levels.max())) if levels.size else (0.0, 0.0)
        if not (low >= 0 and high <= 65535):
            raise ValueError(f"`image_column`: {column!r} holds an image with values of {low:g} to {high:g}.")
        scale = (255.0 if high <= 1 else 1.0) if image.mode == "F" and high <= 255 else 255 / 65535
        if image.mode == "I" and high <= 255:
            scale = 1.0
        image = Image.fromarray((levels * scale).round().astype(np.uint8), mode="L")
    return image.convert(mode)


def _check_columns(dataset: datasets.Dataset, *columns: str) -> None:
    if missing := sorted(set(columns) - set(dataset.column_names)):
        raise ValueError(f"`dataset` has no column {missing}; it has {dataset.column_names}.")


def _labels(dataset: datasets.Dataset, label_column: str) -> torch.Tensor:
    values = dataset.with_format(None)[label_column][:]
    for row, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            found = "no label" if value is None else f"the label {value!r}"
            raise ValueError(
                f"`label_column`: {label_column!r} has {found} in row {row}; class ids must be whole numbers (for "
                "texts, `dataset.class_encode_column`)."
            )
    return torch.tensor(values, dtype=torch.long)


__all__ = ["IN_MEMORY", "ImageTensors", "ProcessedImages", "process_images"]
