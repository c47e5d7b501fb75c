"""Shifted crops and mirror images."""

from __future__ import annotations

import pytest
import torch

from hf_invwnn.image_classification import CropAndFlip, ImageTensors


def test_every_shift_and_mirror_image_occurs_and_the_data_set_is_not_changed() -> None:
    pixels = torch.arange(1.0, 1 + 3 * 6 * 6).view(1, 3, 6, 6)
    plain = ImageTensors(pixels.clone(), torch.tensor([4]))
    padded = torch.nn.functional.pad(pixels[0], [2] * 4)
    possible = {
        tuple(view.flatten().tolist())
        for top in range(5)
        for left in range(5)
        for window in [padded[:, top : top + 6, left : left + 6]]
        for view in (window, window.flip(-1))
    }
    augmented = CropAndFlip(plain, padding=2)
    torch.manual_seed(0)
    seen = [augmented[0] for _ in range(600)]
    assert {tuple(example["pixel_values"].flatten().tolist()) for example in seen} == possible
    assert all(example["labels"] == 4 for example in seen)
    assert torch.equal(plain.pixel_values, pixels)
    with pytest.raises(ValueError, match="`padding` must be at least 0"):
        CropAndFlip(plain, padding=-1)
