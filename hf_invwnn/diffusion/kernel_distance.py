"""KID: a distance between generated and real images, in the features of a classifier or of Inception."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from .classifier import ImageClassifier
from .images import to_images


INCEPTION = "inception"


class KID(NamedTuple):
    """Mean and standard deviation over subsets, and the features they were computed in."""

    mean: float
    std: float
    features: str

    def __str__(self) -> str:
        return f"KID {self.mean:.4g} ± {self.std:.2g} ({self.features})"


class KernelDistance:
    r"""
    The kernel distance of Bińkowski et al., computed by torchmetrics: the unbiased estimate of the squared maximum
    mean discrepancy with the kernel `(x.y / d + 1)^3`, on random subsets.

    Args:
        reference (`torch.Tensor` of shape `(N, C, H, W)`): Real images in [-1, 1], without those to forget.
        features ([`ImageClassifier`] or `"inception"`): A classifier, for the outputs of its penultimate layer; or
            Inception v3 of torchmetrics, which needs `torch-fidelity` and downloads its weights.
        subset_size (`int`, defaults to 500): Images in each subset.
        subsets (`int`, defaults to 50): Number of subsets.
        seed (`int`, defaults to 0): Seed of the subsets; use the same one for all models that are compared.

    Raises:
        ImportError: torchmetrics, or `torch-fidelity` for Inception, is not installed.
        ValueError: There are fewer real images than `subset_size`, or `features` is something else.
    """

    def __init__(
        self,
        reference: torch.Tensor,
        features: ImageClassifier | str,
        subset_size: int = 500,
        subsets: int = 50,
        seed: int = 0,
    ) -> None:
        if isinstance(features, str) and features != INCEPTION:
            raise ValueError(f"`features` must be an ImageClassifier or {INCEPTION!r}, got {features!r}.")
        self.extractor, self.subset_size, self.seed = features, subset_size, seed
        self.check_enough("reference", len(reference))
        self.metric = _metric(features, subset_size, subsets)
        self.metric.update(self._inputs(reference), real=True)

    @property
    def features(self) -> str:
        """Description of the features, to be reported with the number."""
        if isinstance(self.extractor, str):
            return "Inception v3, 2048 features"
        return f"penultimate layer of {self.extractor.name}, {self.extractor.num_features} features"

    def check_enough(self, name: str, count: int) -> None:
        """
        Raises:
            ValueError: There are fewer images than `subset_size`.
        """
        if count < self.subset_size:
            raise ValueError(
                f"`{name}` has {count} images, fewer than the {self.subset_size} of a subset of KID; use more, or a "
                "smaller `subset_size`."
            )

    def __call__(self, images: torch.Tensor, features: torch.Tensor | None = None) -> KID:
        """
        Args:
            images (`torch.Tensor` of shape `(N, C, H, W)`): Generated images in [-1, 1].
            features (`torch.Tensor` of shape `(N, d)`, *optional*): Features of the images, if the classifier has
                computed them already.

        Raises:
            ValueError: There are fewer images than `subset_size`.
        """
        self.check_enough("images", len(images))
        known = features is not None and not isinstance(self.extractor, str)
        self.metric.reset()  # keeps the real features
        self.metric.update(features if known else self._inputs(images), real=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            mean, std = self.metric.compute()
        return KID(float(mean), float(std), self.features)

    def _inputs(self, images: torch.Tensor) -> torch.Tensor:
        if isinstance(self.extractor, ImageClassifier):
            return self.extractor.classify(images).features
        import numpy as np

        pictures = np.stack([np.asarray(picture.convert("RGB")) for picture in to_images(images)])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def _metric(features: ImageClassifier | str, subset_size: int, subsets: int) -> Any:
    try:
        from torchmetrics.image.kid import KernelInceptionDistance
    except ImportError as error:
        raise ImportError("KID needs torchmetrics: pip install 'hf-invwnn[diffusion]'.") from error
    # The outputs of the classifier are features already.
    network = 2048 if isinstance(features, str) else nn.Identity()
    return KernelInceptionDistance(network, subsets=subsets, subset_size=subset_size, reset_real_features=False)


__all__ = ["INCEPTION", "KID", "KernelDistance"]
