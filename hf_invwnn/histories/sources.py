"""The images of history runs: data sets as tensors, and the random subset of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .plan import RunSpec


@dataclass(frozen=True)
class ImageSource:
    """
    A data set of small images in memory.

    Args:
        name (`str`): Its name in the histories.
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): In -1..1.
        labels (`torch.Tensor` of shape `(N,)`): Class ids from 0.
    """

    name: str
    pixel_values: torch.Tensor
    labels: torch.Tensor

    @property
    def num_classes(self) -> int:
        return int(self.labels.max()) + 1

    @classmethod
    def digits(cls) -> ImageSource:
        """scikit-learn's 1,797 handwritten digits, 8 x 8."""
        from sklearn.datasets import load_digits

        data = load_digits()
        pixels = torch.from_numpy(data.images).float().unsqueeze(1) / 8 - 1
        return cls("digits", pixels, torch.from_numpy(data.target).long())

    @classmethod
    def from_parquet(cls, folder: str | os.PathLike, image_size: int) -> ImageSource:
        """
        A folder with `train*.parquet` of the columns `image` and `label`, averaged down to `image_size` pixels.

        Raises:
            FileNotFoundError: The folder has no such file.
        """
        from datasets import load_dataset

        files = sorted(str(path) for path in Path(folder).glob("train*.parquet"))
        if not files:
            raise FileNotFoundError(f"There is no train*.parquet in `{folder}`.")
        data = load_dataset("parquet", data_files=files, split="train")
        return cls._from_rows(Path(folder).name, data, image_size)

    @classmethod
    def from_hub(cls, repo_id: str, image_size: int) -> ImageSource:
        """
        The split `train` of a data set on the Hub, with the columns `image` and `label`, averaged down to `image_size`
        pixels. The last part of the id is its name.
        """
        from datasets import load_dataset

        return cls._from_rows(repo_id.split("/")[-1], load_dataset(repo_id, split="train"), image_size)

    @classmethod
    def _from_rows(cls, name: str, data: Any, image_size: int) -> ImageSource:
        images = list(data["image"])
        if len({image.mode for image in images}) > 1:  # some grey images among those in colour
            images = [image.convert("RGB") for image in images]
        arrays = [np.atleast_3d(np.asarray(image)) for image in images]
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1
        smaller = torch.nn.functional.adaptive_avg_pool2d(pixels, image_size)
        return cls(name, smaller, torch.tensor(data["label"][:], dtype=torch.long))


def draw_subset(source: ImageSource, spec: RunSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The images of one run: a random subset of the classes and of their images, drawn by the seed of the run.

    Returns:
        Pixels `(n, C, H, W)` and labels `(n,)` renumbered from 0, with the label noise of the run.
    """
    generator = np.random.default_rng(spec.seed)
    count = min(spec.num_classes or source.num_classes, source.num_classes)
    classes = generator.permutation(source.num_classes)[:count]
    renumbered = np.full(source.num_classes, -1)
    renumbered[classes] = np.arange(count)
    labels = renumbered[source.labels.numpy()]
    chosen = generator.permutation(np.flatnonzero(labels >= 0))[: spec.examples]
    labels = labels[chosen]
    wrong = generator.random(len(labels)) < spec.label_noise
    shift = generator.integers(1, max(count, 2), len(labels))
    noisy = np.where(wrong, (labels + shift) % count, labels)
    return source.pixel_values[torch.from_numpy(chosen)], torch.from_numpy(noisy)


__all__ = ["ImageSource", "draw_subset"]
