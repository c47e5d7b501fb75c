"""Images of a data set as the tensors in [-1, 1] that a diffusion model learns from."""

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

# What PIL calls images of so many channels.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class DiffusionImages(torch.utils.data.Dataset):
    """
    Clean images, and what a UNet takes beside them.

    Args:
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): In [-1, 1]; for a latent model, latents.
        conditions (`torch.Tensor` of shape `(N, ...)`): Keyword arguments of the UNet, an entry for each image:
            `class_labels`, or `encoder_hidden_states` (prompt embeddings computed beforehand).

    Raises:
        ValueError: The tensors differ in length.
    """

    def __init__(self, pixel_values: torch.Tensor, **conditions: torch.Tensor) -> None:
        for name, condition in conditions.items():
            if len(condition) != len(pixel_values):
                raise ValueError(
                    f"`{name}` must be as many as `pixel_values` ({len(pixel_values)}), got {len(condition)}."
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
        Decodes a whole data set.

        Args:
            dataset (`datasets.Dataset`): With a column of PIL images, all of one size and one mode.
            image_column (`str`, defaults to `"image"`): The column of the images.
            label_column (`str`, *optional*): Column of the class ids, for a class-conditional UNet; they become
                `class_labels`.
            size (`int`, *optional*): Height and width to resize to (bicubic, antialiased); as they are by default.

        Raises:
            ValueError: A column is missing, there is no image, or images differ in size or channels.
        """
        wanted = {image_column} | ({label_column} if label_column is not None else set())
        if missing := sorted(wanted - set(dataset.column_names)):
            raise ValueError(f"`dataset` has no column {missing}; it has {dataset.column_names}.")
        if len(dataset) == 0:
            raise ValueError("`dataset` is empty; there is no image in it.")
        arrays = [_pixels(image, size) for batch in dataset.iter(1000) for image in batch[image_column]]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise ValueError(
                f"`dataset` has images of different height, width or channels, such as {sorted(shapes)[:3]}; a "
                "diffusion model learns from images of one shape."
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
        """The images at these positions."""
        chosen = torch.as_tensor(indices, dtype=torch.long)
        return DiffusionImages(self.pixel_values[chosen], **{n: c[chosen] for n, c in self.conditions.items()})


def _pixels(image: Any, size: int | None) -> np.ndarray:
    """`(H, W, C)` in uint8."""
    if image.mode not in _MODES.values():
        image = image.convert("RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), resample=Resampling.BICUBIC)
    array = np.asarray(image, dtype=np.uint8)
    return array[..., None] if array.ndim == 2 else array


def to_images(images: torch.Tensor) -> list[Any]:
    """
    PIL images of what a diffusion model generates, rounded as diffusers does.

    Args:
        images (`torch.Tensor` of shape `(N, C, H, W)`): In [-1, 1]; C is 1, 3 or 4.
    """
    pixels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array) for array in pixels]


def check_images(name: str, dataset: Any, unet: nn.Module) -> None:
    """
    Looks whether a UNet can learn from the examples of a data set, by the first of them.

    Args:
        name (`str`): What errors call the data set.
        dataset (`Dataset`): Gives dictionaries with `pixel_values` of shape `(C, H, W)`.
        unet (`nn.Module`): A UNet of diffusers, wrapped by PEFT or not.

    Raises:
        ValueError: Size, channels or conditions are not those of the UNet; the message says which.
    """
    example = dataset[0]
    if not isinstance(example, Mapping) or "pixel_values" not in example:
        raise ValueError(f"`{name}` must give dictionaries with `pixel_values`, or be a `datasets.Dataset` of images.")
    config: Any = unet.config
    found = tuple(example["pixel_values"].shape)
    size = config.sample_size
    height, width = (size, size) if size is None or isinstance(size, int) else size
    wanted = (config.in_channels, height or found[-2], width or found[-1])
    if found != wanted:
        raise ValueError(
            f"`{name}` has images of {_describe(found)}, but the UNet takes {_describe(wanted)}; pass the images as "
            "it was trained on them."
        )
    _check_class_labels(name, dataset, example, config)
    if "encoder_hidden_states" not in example and getattr(config, "cross_attention_dim", None) is not None:
        raise ValueError(
            f"`{name}` has no `encoder_hidden_states`, which the UNet attends to; compute the prompt embeddings "
            "beforehand."
        )


def _check_class_labels(name: str, dataset: Any, example: Mapping[str, Any], config: Any) -> None:
    classes = getattr(config, "num_class_embeds", None)
    conditional = classes is not None or getattr(config, "class_embed_type", None) is not None
    if conditional and "class_labels" not in example:
        raise ValueError(f"`{name}` has no `class_labels`, and the UNet is class-conditional; name their column.")
    if not conditional and "class_labels" in example:
        raise ValueError(f"`{name}` has `class_labels`, but the UNet is not class-conditional; leave them out.")
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
