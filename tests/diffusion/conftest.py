"""Tiny UNets with random weights, pipelines of them, digits to forget and a classifier with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from helpers import Examples
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn import LinearPredictor, UnlearningArguments
from hf_invwnn.diffusion import DiffusionImages, ImageClassifier, diffusion_unlearner


@pytest.fixture
def make_unet() -> Callable[..., UNet2DModel]:
    """`make_unet(seed=0, **config)`: one channel, 8 x 8 pixels, a few thousand weights."""

    def make(seed: int = 0, **config: Any) -> UNet2DModel:
        torch.manual_seed(seed)
        shape = {
            "sample_size": 8,
            "in_channels": 1,
            "out_channels": 1,
            "block_out_channels": (4, 8),
            "norm_num_groups": 2,
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            "add_attention": False,
        }
        return UNet2DModel(**{**shape, **config}).eval()

    return make


@pytest.fixture
def pipeline(make_unet: Callable[..., UNet2DModel]) -> DDPMPipeline:
    return DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))


@pytest.fixture
def images(digits: Examples) -> DiffusionImages:
    """32 digits."""
    return DiffusionImages(digits.columns["pixel_values"][:32])


@pytest.fixture
def make_diffusion_unlearner(tmp_path: Path) -> Callable[..., Any]:
    """
    `make(pipeline, forget_dataset, method="invwnn", **options)`: a linear predictor, K = 3 and two rounds by default.
    Options that are fields of `UnlearningArguments` go there, all others to `diffusion_unlearner`.
    """

    def make(
        pipeline: Any, forget_dataset: Any, method: str = "invwnn", eval_dataset: Any = None, **options: Any
    ) -> Any:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "num_rewinds": 2,
            "num_snapshots": 3,
            "recovery_steps": 0,
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 16,
            "per_device_eval_batch_size": 64,
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "report_to": "none",
            "use_cpu": True,
        }
        fields = UnlearningArguments.__dataclass_fields__
        kwargs = {name: value for name, value in options.items() if name not in fields}
        if method == "invwnn":
            kwargs.setdefault("predictor", LinearPredictor())
        args = UnlearningArguments(**{**defaults, **{n: v for n, v in options.items() if n in fields}})
        return diffusion_unlearner(pipeline, args, forget_dataset, eval_dataset, method=method, **kwargs)

    return make


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of ten classes with random weights, and its processor."""
    folder = tmp_path_factory.mktemp("judge")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(image_size=8, patch_size=4, num_channels=3, num_labels=10, initializer_range=0.5, **shape)
    ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 8, "width": 8}
    ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    return folder


@pytest.fixture
def classifier(classifier_folder: Path) -> ImageClassifier:
    return ImageClassifier.from_pretrained(classifier_folder)
