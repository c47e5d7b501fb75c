"""Class activation maps of several models on the same images: Grad-CAM, by captum."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn


def class_activation(
    model: nn.Module, pixel_values: torch.Tensor, classes: torch.Tensor, layer: nn.Module | None = None
) -> np.ndarray:
    """
    Grad-CAM of a convolutional classifier.

    Args:
        model (`nn.Module`): Takes `pixel_values` and returns `logits`.
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`): Processed images.
        classes (`torch.Tensor` of shape `(N,)`): The class of each image to map the evidence for.
        layer (`nn.Module`, *optional*): The layer to map; the last convolution of the model by default.

    Returns:
        `np.ndarray` of shape `(N, H, W)`: Evidence for the class, relative to the largest in the image; 0 where there
        is none.

    Raises:
        ValueError: The model has no convolution.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer = _last_convolution(model) if layer is None else layer
    was_training = model.training
    model.eval()
    maps = LayerGradCam(lambda pixels: model(pixel_values=pixels).logits, layer).attribute(
        pixel_values, target=classes, relu_attributions=True
    )
    model.train(was_training)
    shape = (int(pixel_values.shape[-2]), int(pixel_values.shape[-1]))
    evidence = LayerAttribution.interpolate(maps, shape, interpolate_mode="bilinear").detach()[:, 0]
    largest = evidence.flatten(1).amax(dim=1).clamp_min(torch.finfo(evidence.dtype).tiny)
    return (evidence / largest[:, None, None]).cpu().numpy()


def plot_class_activation(
    models: Mapping[str, nn.Module],
    images: Sequence[Any],
    pixel_values: torch.Tensor,
    classes: torch.Tensor,
    path: str | os.PathLike,
    class_names: Sequence[str] = (),
) -> None:
    """
    Draws a row for each image and a column for each model: the map over the image, and the predicted class.

    Args:
        models (`dict[str, nn.Module]`): Name -> classifier.
        images (`Sequence[PIL.Image]`): The images to draw.
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`), classes (`torch.Tensor` of shape `(N,)`): As for
            [`class_activation`], of the same images.
        path (`str` or `os.PathLike`): The PNG to write.
        class_names (`Sequence[str]`, *optional*): Names of the classes.
    """
    from matplotlib.figure import Figure

    columns = ["image", *models]
    figure = Figure(figsize=(1.5 * len(columns), 1.6 * len(images) + 0.3), dpi=150, layout="constrained")
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    names = [class_names[label] if class_names else str(label) for label in classes.tolist()]
    for row, image in enumerate(images):
        axes[row][0].imshow(image, cmap="gray")
        axes[row][0].set_ylabel(f"evidence for {names[row]}", fontsize=7)
    for column, model in enumerate(models.values(), start=1):
        maps = class_activation(model, pixel_values, classes)
        with torch.no_grad():
            predicted = model(pixel_values=pixel_values).logits.argmax(dim=-1).tolist()
        for row, image in enumerate(images):
            axes[row][column].imshow(image, cmap="gray")
            overlay = axes[row][column].imshow(maps[row], cmap="cividis", alpha=0.6, vmin=0, vmax=1)
            prediction = class_names[predicted[row]] if class_names else predicted[row]
            axes[row][column].set_xlabel(f"predicts {prediction}", fontsize=7)
    for number, name in enumerate(columns):
        axes[0][number].set_title(name, fontsize=8)
    for panel in axes.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    if models:
        bar = figure.colorbar(overlay, ax=axes, fraction=0.02, pad=0.01)
        bar.set_label("evidence, relative to the strongest in the image", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    figure.savefig(path)


def _last_convolution(model: nn.Module) -> nn.Module:
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and layer.groups == 1]
    if not convolutions:
        raise ValueError("`model` has no convolution; pass the `layer` to map.")
    return convolutions[-1]


__all__ = ["class_activation", "plot_class_activation"]
