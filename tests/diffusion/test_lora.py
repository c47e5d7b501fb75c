"""A text-conditional UNet, as Stable Diffusion has one, forgets through LoRA layers, its prompts embedded before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from helpers import copied, differing
from peft import LoraConfig, get_peft_model


class Latents(torch.utils.data.Dataset):
    """Latents of images with the embedding of what each was called."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.latents = torch.randn(count, 4, 8, 8, generator=generator)
        self.prompts = torch.randn(count, 5, 8, generator=generator)

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.latents[index], "encoder_hidden_states": self.prompts[index]}


def text_conditional_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        cross_attention_dim=8,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ).eval()


@pytest.mark.parametrize("how", ["get_peft_model", "add_adapter"])
def test_only_the_adapter_moves_and_the_saved_pipeline_has_it_merged(
    make_diffusion_unlearner: Callable[..., Any], tmp_path: Path, how: str
) -> None:
    """What is saved needs no PEFT, and says of an input what the model with its adapter says."""
    unet: Any = text_conditional_unet()
    base = copied(unet)
    lora = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights="gaussian")
    if how == "get_peft_model":
        unet = get_peft_model(unet, lora)
    else:
        unet.requires_grad_(False)
        unet.add_adapter(lora)
    before = copied(unet)
    pipeline = DDPMPipeline(text_conditional_unet(), DDPMScheduler(num_train_timesteps=100))
    pipeline.unet = unet
    data = Latents(16)
    unlearner = make_diffusion_unlearner(pipeline, data, num_rewinds=1, learning_rate=1e-2)
    unlearner.train()
    assert all("lora_" in name for name in unlearner.unlearning.parameters)
    moved = set(differing(copied(unet), before))
    assert moved
    assert all("lora_" in name for name in moved)
    unlearner.save_model()
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "out").unet
    assert type(loaded) is UNet2DConditionModel
    changed = differing(copied(loaded), base)
    assert changed
    assert all("to_q" in name or "to_v" in name for name in changed)
    inputs = data.latents[:2], torch.tensor([3, 50]), data.prompts[:2]
    with torch.no_grad():
        expected, found, original = (model.eval()(*inputs).sample for model in (unet, loaded, text_conditional_unet()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, original, rtol=1e-3, atol=1e-3)
