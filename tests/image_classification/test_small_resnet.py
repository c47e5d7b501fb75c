"""The ResNet for small images has the layers of the paper, and is saved and loaded like a model of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification

from hf_invwnn.image_classification.small_resnet import Block, SmallResNetConfig, SmallResNetForImageClassification


@pytest.mark.parametrize(("depth", "weights"), [(8, 75_290), (20, 269_722)])
def test_it_has_as_many_weights_as_the_published_network(depth: int, weights: int) -> None:
    """He et al. (2016), table 6: 0.27 million with 20 layers."""
    model = SmallResNetForImageClassification(SmallResNetConfig(depth=depth, num_labels=10))
    assert sum(parameter.numel() for parameter in model.parameters()) == weights
    assert sum(isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)) for module in model.modules()) == depth


def test_the_stages_halve_the_image_and_the_loss_is_the_cross_entropy() -> None:
    model = SmallResNetForImageClassification(SmallResNetConfig(num_labels=4)).eval()
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([1, 3])
    assert model.blocks(torch.relu(model.norm(model.stem(images)))).shape == (2, 64, 4, 4)
    output = model(pixel_values=images, labels=labels)
    assert output.logits.shape == (2, 4)
    assert torch.equal(output.loss, torch.nn.functional.cross_entropy(output.logits, labels))


def test_the_shortcut_takes_every_other_pixel_and_pads_the_channels_with_zeros() -> None:
    block = Block(2, 4, stride=2).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    images = torch.rand(1, 2, 4, 4)
    expected = torch.zeros(1, 4, 2, 2)
    expected[:, :2] = images[:, :, ::2, ::2]
    assert torch.equal(block(images), expected)


def test_a_saved_one_is_loaded_by_name(tmp_path: Path) -> None:
    model = SmallResNetForImageClassification(SmallResNetConfig(num_labels=3))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, SmallResNetForImageClassification)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("depth", [2, 9, 18])
def test_other_depths_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="`depth` must be 6 n"):
        SmallResNetConfig(depth=depth)
