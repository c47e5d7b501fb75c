"""The landscape and the class activation maps show what was measured."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from helpers import build_model
from PIL import Image
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput


RECIPES = Path(__file__).parents[2] / "recipes" / "image_classification"


def load(module: str) -> ModuleType:
    """A module of the recipes, which import each other by their folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPES)
        return import_module(module)


class_activation, plot_class_activation = load("grad_cam").class_activation, load("grad_cam").plot_class_activation
landscape, plot_landscape = load("weight_plane").landscape, load("weight_plane").plot_landscape


def test_the_landscape_measures_the_weights_of_its_grid() -> None:
    """On paths within a plane, every grid point is the start plus its coordinates along the components."""
    generator = np.random.default_rng(0)
    start, *directions = generator.normal(size=(3, 50))
    paths = {
        name: [start, *(start + step * (a * directions[0] + b * directions[1]) for step in (0.5, 1.0))]
        for name, a, b in (("one", 1.0, 0.2), ("other", -0.3, 0.8))
    }
    measured: list[np.ndarray] = []

    def measure(weights: np.ndarray) -> float:
        measured.append(weights)
        return float(np.linalg.norm(weights - start))

    plane = landscape(paths, {"test": measure}, resolution=5)
    assert plane.explained == pytest.approx(1)
    assert len(measured) == 25
    expected = np.hypot(plane.first[None, :], plane.second[:, None])
    np.testing.assert_allclose(plane.values["test"], expected, atol=1e-9)
    for name, path in paths.items():
        lengths = [np.linalg.norm(weights - start) for weights in path]
        np.testing.assert_allclose(np.linalg.norm(plane.paths[name], axis=1), lengths, atol=1e-9)
        assert plane.first[0] < plane.paths[name][:, 0].min() and plane.first[-1] > plane.paths[name][:, 0].max()


def test_the_share_of_the_displacements_in_the_plane() -> None:
    paths = {str(axis): [np.zeros(4), np.eye(4)[axis] * (2 if axis < 2 else 1)] for axis in range(4)}
    plane = landscape(paths, {"test": lambda weights: 0.0}, resolution=2)
    assert plane.explained == pytest.approx(8 / 10)


@pytest.mark.parametrize("paths", [{}, {"a": [np.zeros(3)]}])
def test_a_landscape_needs_paths(paths: dict[str, list[np.ndarray]]) -> None:
    with pytest.raises(ValueError, match="`paths` must hold at least one method"):
        landscape(paths, {})


def test_all_paths_must_begin_at_the_same_weights() -> None:
    with pytest.raises(ValueError, match="`paths`: b begins at other weights"):
        landscape({"a": [np.zeros(3), np.ones(3)], "b": [np.ones(3), np.zeros(3)]}, {})


class Corner(nn.Module):
    """Predicts class 1 if the upper left is bright, class 0 if the lower right is."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.ones(2, 1, 1, 1))
        place = torch.zeros(2, 8, 8)
        place[1, :3, :3] = 1
        place[0, 5:, 5:] = 1
        self.register_buffer("place", place)

    def forward(self, pixel_values: torch.Tensor) -> ImageClassifierOutput:
        return ImageClassifierOutput(logits=(self.convolution(pixel_values) * self.place).sum(dim=(2, 3)))


def test_class_activation_is_a_map_of_evidence_in_each_image() -> None:
    pixels = torch.zeros(2, 1, 8, 8)
    pixels[0, 0, 1, 2] = 1.0
    pixels[1, 0, 6, 6] = 3.0
    maps = class_activation(Corner().train(), pixels, torch.tensor([1, 0]))
    assert maps.shape == (2, 8, 8)
    assert maps.max(axis=(1, 2)).tolist() == [1.0, 1.0]
    assert np.unravel_index(maps[0].argmax(), (8, 8)) == (1, 2)
    assert np.unravel_index(maps[1].argmax(), (8, 8)) == (6, 6)


def test_a_model_without_convolutions_is_refused() -> None:
    with pytest.raises(ValueError, match="`model` has no convolution"):
        class_activation(nn.Linear(2, 2), torch.zeros(1, 1, 8, 8), torch.tensor([0]))


def test_pictures_are_drawn_and_models_unchanged(tmp_path: Path) -> None:
    resnet = build_model("resnet").train()
    image = Image.fromarray(np.zeros((8, 8), np.uint8))
    plot_class_activation(
        {"a": resnet, "b": Corner()}, [image] * 2, torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), tmp_path / "cam.png"
    )
    assert resnet.training and all(parameter.grad is None for parameter in resnet.parameters())
    plane = landscape({"a": [np.zeros(3), np.ones(3)]}, {"test": lambda weights: float(weights.sum())}, resolution=3)
    plot_landscape(plane, tmp_path / "landscape.png", "title")
    for name in ("cam", "landscape"):
        assert Image.open(tmp_path / f"{name}.png").size[0] > 400
