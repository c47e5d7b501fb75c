"""A text-conditional UNet with LoRA layers: only these change and are in checkpoints, and they are saved merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from helpers import RaiseAt, copied, differing, unchanged, without_seconds
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from hf_invwnn.diffusion import DiffusionImages, load_pipeline
from hf_invwnn.errors import CorruptCheckpointError


PROJECTIONS = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"])


def build_pipeline() -> StableDiffusionPipeline:
    """Random weights, latents of 4 x 8 x 8, prompt embeddings of size 8, and no text encoder."""
    torch.manual_seed(0)
    blocks: dict[str, Any] = {"block_out_channels": (4, 8), "norm_num_groups": 2, "layers_per_block": 1}
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        **blocks,
    )
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=4)
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=DDPMScheduler(num_train_timesteps=100),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture
def stable_diffusion() -> StableDiffusionPipeline:
    return build_pipeline()


def add_lora(pipeline: StableDiffusionPipeline, how: str) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    if how == "add_adapter":
        pipeline.unet.add_adapter(PROJECTIONS)
    else:
        pipeline.unet = get_peft_model(pipeline.unet, PROJECTIONS)
    return pipeline


@pytest.fixture
def latents() -> DiffusionImages:
    generator = torch.Generator().manual_seed(1)
    return DiffusionImages(
        torch.randn((8, 4, 8, 8), generator=generator),
        encoder_hidden_states=torch.randn((8, 3, 8), generator=generator),
    )


@pytest.mark.parametrize("wrapped", ["add_adapter", "get_peft_model"])
def test_only_lora_layers_move_and_the_saved_pipeline_has_them_merged(
    wrapped: str,
    stable_diffusion: StableDiffusionPipeline,
    latents: DiffusionImages,
    make_diffusion_unlearner: Callable[..., Any],
    tmp_path: Path,
) -> None:
    plain = copied(stable_diffusion.unet)
    add_lora(stable_diffusion, wrapped)
    before = copied(stable_diffusion.unet)
    unlearner = make_diffusion_unlearner(stable_diffusion, latents, learning_rate=1e-2)
    assert all("lora" in name for name in unlearner.tracked.parameters)
    unlearner.train()
    moved = differing(copied(stable_diffusion.unet), before)
    assert moved
    assert all("lora" in name for name in moved)
    assert unlearner.history[-1]["eval_forget_loss"] > unlearner.history[0]["eval_forget_loss"]

    unlearner.save_model()
    assert differing(copied(stable_diffusion.unet), before) == moved  # saving leaves the layers in place
    loaded = load_pipeline(tmp_path / "out").pipeline
    assert isinstance(loaded, StableDiffusionPipeline)
    changed = differing(copied(loaded.unet), plain)
    assert changed
    assert all("to_q" in name or "to_v" in name for name in changed)
    noise, prompts = torch.randn(2, 4, 8, 8), latents.conditions["encoder_hidden_states"][:2]
    with torch.no_grad():
        actual, expected = (p.unet(noise, 5, prompts).sample for p in (loaded, stable_diffusion))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrapped", ["add_adapter", "get_peft_model"])
def test_checkpoints_hold_no_frozen_weights_and_an_interrupted_run_resumes_bitwise(
    wrapped: str, latents: DiffusionImages, make_diffusion_unlearner: Callable[..., Any], tmp_path: Path
) -> None:
    def start(folder: str, **options: Any) -> Any:
        run = {"save_strategy": "steps", "save_steps": 3, "output_dir": str(tmp_path / folder), "num_rewinds": 4}
        return make_diffusion_unlearner(add_lora(build_pipeline(), wrapped), latents, **run, **options)

    whole = start("whole")
    whole.train()
    broken = start("broken", callbacks=[RaiseAt(5, RuntimeError("interrupted"))])
    with pytest.raises(RuntimeError, match="interrupted"):
        broken.train()
    saved = load_file(tmp_path / "broken" / "checkpoint-3" / "model.safetensors")
    assert saved.keys() == broken.tracked.parameters.keys()
    resumed = start("broken")
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)


def test_a_checkpoint_is_refused_for_another_base_model(
    latents: DiffusionImages, make_diffusion_unlearner: Callable[..., Any]
) -> None:
    def start() -> Any:
        pipeline = add_lora(build_pipeline(), "add_adapter")
        return make_diffusion_unlearner(pipeline, latents, save_strategy="steps", save_steps=1)

    start().train()
    other = start()
    with torch.no_grad():
        other.model.unet.conv_in.weight.add_(1)
    with unchanged(other.model), pytest.raises(CorruptCheckpointError, match="`starting weights`"):
        other.train(resume_from_checkpoint=True)


def test_prompt_embeddings_are_asked_for(
    stable_diffusion: StableDiffusionPipeline, make_diffusion_unlearner: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="`forget_dataset` has no `encoder_hidden_states`"):
        make_diffusion_unlearner(stable_diffusion, DiffusionImages(torch.zeros(2, 4, 8, 8)))
