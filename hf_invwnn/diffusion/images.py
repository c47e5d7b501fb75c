"""Images of a data set as tensors in [-1, 1], the inputs of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import nn


if TYPE_CHECKING:
    import datasets

# Number of channels -> mode of PIL.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class DiffusionImages(torch.utils.data.Dataset):
    """
    Images and other inputs of a UNet.

    Args:
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): Images without noise, in [-1, 1]; for a latent model,
            latents.
        conditions (`torch.Tensor` of shape `(N, ...)`): Keyword arguments of the UNet, one entry for each image:
            `class_labels`, or `encoder_hidden_states` (precomputed prompt embeddings).

    Raises:
        ValueError: The tensors differ in length.
    """

    def __init__(self, pixel_values: torch.Tensor, **conditions: torch.Tensor) -> None:
        for name, condition in conditions.items():
            if len(condition) != len(pixel_values):
                raise ValueError(
                    f"`{name}` must be as long as `pixel_values` ({len(pixel_values)}), got {len(condition)}."
                )
        self.pixel_values, self.conditions = pixel_values, conditions

    @classmethod
    def from_dataset(
        cls,
        dataset: datasets.Dataset,
        image_column: str = "image",
        label_column: str | None = None,
        size: int | None = None,
    ) -> DiffusionImages:
        """
        Decodes all images of a data set.

        Args:
            dataset (`datasets.Dataset`): Has a column of PIL images, all of one size and one mode.
            image_column (`str`, defaults to `"image"`): The column of the images.
            label_column (`str`, *optional*): Column of the class ids, for a class-conditional UNet; they become
                `class_labels`.
            size (`int`, *optional*): Height and width to resize to (bicubic, antialiased); by default images are not
                resized.

        Raises:
            ValueError: A column is missing, the data set is empty, or images differ in size or channels.
        """
        columns = {image_column} | ({label_column} if label_column is not None else set())
        if missing := sorted(columns - set(dataset.column_names)):
            raise ValueError(f"`dataset` has no column {missing}; it has {dataset.column_names}.")
        if len(dataset) == 0:
            raise ValueError("`dataset` is empty.")
        arrays = [_pixels(image, size) for batch in dataset.iter(1000) for image in batch[image_column]]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise ValueError(
                f"`dataset` has images of different height, width or channels, such as {sorted(shapes)[:3]}; a "
                "diffusion model takes images of one shape."
            )
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1
        conditions = {}
        if label_column is not None:
            conditions["class_labels"] = torch.tensor(dataset.with_format(None)[label_column][:], dtype=torch.long)
        return cls(pixels, **conditions)

    def __len__(self) -> int:
        return len(self.pixel_values)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        conditions = {name: condition[index] for name, condition in self.conditions.items()}
        return {"pixel_values": self.pixel_values[index], **conditions}

    def select(self, indices: Sequence[int] | torch.Tensor) -> DiffusionImages:
        """The images at these indices."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return DiffusionImages(self.pixel_values[chosen], **{n: c[chosen] for n, c in self.conditions.items()})


def _pixels(image: Any, size: int | None) -> np.ndarray:
    """The pixels of an image, `(H, W, C)` in uint8."""
    if image.mode not in _MODES.values():
        image = image.convert("RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), resample=Resampling.BICUBIC)
    array = np.asarray(image, dtype=np.uint8)
    return array[..., None] if array.ndim == 2 else array


def to_images(images: torch.Tensor) -> list[Any]:
    """
    Converts generated images to PIL images, with the rounding of diffusers.

    Args:
        images (`torch.Tensor` of shape `(N, C, H, W)`): In [-1, 1]; C is 1, 3 or 4.
    """
    pixels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array) for array in pixels]


def check_images(name: str, dataset: Any, unet: nn.Module) -> None:
    """
    Checks that the first example, and all class labels, of a data set fit a UNet.

    Args:
        name (`str`): Name of the data set in messages.
        dataset (`Dataset`): Returns dictionaries with `pixel_values` of shape `(C, H, W)`.
        unet (`nn.Module`): A UNet of diffusers, wrapped by PEFT or not.

    Raises:
        ValueError: Size, channels or conditions differ from those of the UNet; the message names the difference.
    """
    example = dataset[0]
    if not isinstance(example, Mapping) or "pixel_values" not in example:
        raise ValueError(
            f"`{name}` must return dictionaries with `pixel_values`, or be a `datasets.Dataset` of images."
        )
    config: Any = unet.config
    shape = tuple(example["pixel_values"].shape)
    size = config.sample_size
    height, width = (size, size) if size is None or isinstance(size, int) else size
    expected = (config.in_channels, height or shape[-2], width or shape[-1])
    if shape != expected:
        raise ValueError(
            f"`{name}` has images of {_describe(shape)}, but the UNet takes {_describe(expected)}; pass images in the "
            "format it was trained on."
        )
    _check_class_labels(name, dataset, example, config)
    if "encoder_hidden_states" not in example and getattr(config, "cross_attention_dim", None) is not None:
        raise ValueError(
            f"`{name}` has no `encoder_hidden_states`, which the UNet attends to; add the prompt embeddings of its "
            "images."
        )


def _check_class_labels(name: str, dataset: Any, example: Mapping[str, Any], config: Any) -> None:
    classes = getattr(config, "num_class_embeds", None)
    conditional = classes is not None or getattr(config, "class_embed_type", None) is not None
    if conditional and "class_labels" not in example:
        raise ValueError(f"`{name}` has no `class_labels`, but the UNet is class-conditional; set `label_column`.")
    if not conditional and "class_labels" in example:
        raise ValueError(f"`{name}` has `class_labels`, but the UNet is not class-conditional; remove them.")
    if classes is None:
        return
    labels = (
        dataset.conditions["class_labels"]
        if isinstance(dataset, DiffusionImages)
        else torch.tensor([int(dataset[index]["class_labels"]) for index in range(len(dataset))])
    )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"`{name}` has class labels {int(labels.min())}..{int(labels.max())}, but the UNet knows 0..{classes - 1}."
        )


def _describe(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{height} x {width} pixels and {channels} channel{'s' if channels != 1 else ''}"


__all__ = ["DiffusionImages", "check_images", "to_images"]
