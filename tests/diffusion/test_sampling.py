"""The same noise gives the same images, those of the DDIM pipeline of diffusers, and NaN is an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, UNet2DModel
from helpers import unchanged

from hf_invwnn.diffusion import fixed_noise, generate_images
from hf_invwnn.errors import NonFiniteImagesError


def test_images_are_those_of_the_ddim_pipeline(pipeline: DDPMPipeline) -> None:
    ddim = DDIMPipeline(pipeline.unet, DDIMScheduler.from_config(pipeline.scheduler.config))
    ddim.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    expected = ddim(batch_size=6, generator=generator, num_inference_steps=7, output_type="pt").images
    noise = fixed_noise(6, pipeline.unet, seed=5)
    images = generate_images(pipeline.unet, pipeline.scheduler, noise, num_inference_steps=7, progress=False)
    torch.testing.assert_close((images / 2 + 0.5).permute(0, 2, 3, 1).permute(0, 3, 1, 2), expected, rtol=0, atol=1e-6)


def test_batches_and_the_state_of_the_generator_change_nothing(pipeline: DDPMPipeline) -> None:
    noise = fixed_noise(5, pipeline.unet)
    pipeline.unet.train()
    with unchanged(pipeline.unet):
        whole = generate_images(pipeline.unet, pipeline.scheduler, noise, 4, progress=False)
        state = torch.get_rng_state()
        parts = generate_images(pipeline.unet, pipeline.scheduler, noise, 4, batch_size=2, progress=False)
        assert torch.equal(torch.get_rng_state(), state)
    assert pipeline.unet.training
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-5)


def test_fixed_noise_has_the_shape_of_the_unet_and_is_drawn_by_the_seed(
    make_unet: Callable[..., UNet2DModel],
) -> None:
    unet = make_unet(sample_size=(8, 16))
    assert fixed_noise(3, unet).shape == (3, 1, 8, 16)
    assert torch.equal(fixed_noise(3, unet, 1), fixed_noise(3, unet, 1))
    assert not torch.equal(fixed_noise(3, unet, 1), fixed_noise(3, unet, 2))
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        fixed_noise(0, unet)
    with pytest.raises(ValueError, match="no `sample_size`"):
        fixed_noise(1, make_unet(sample_size=None))


def test_a_class_conditional_unet_gets_its_classes_batch_by_batch(
    pipeline: DDPMPipeline, make_unet: Callable[..., UNet2DModel]
) -> None:
    unet = make_unet(num_class_embeds=3)
    noise = fixed_noise(1, unet).repeat(3, 1, 1, 1)
    classes = {"class_labels": torch.tensor([0, 2, 0])}
    images = generate_images(unet, pipeline.scheduler, noise, 3, batch_size=2, conditions=classes, progress=False)
    torch.testing.assert_close(images[0], images[2], rtol=0, atol=1e-5)
    assert (images[0] - images[1]).abs().max() > 1e-3


def test_images_that_are_not_finite_are_an_error_and_the_mode_is_restored(pipeline: DDPMPipeline) -> None:
    with torch.no_grad():
        pipeline.unet.conv_out.bias.fill_(float("nan"))
    pipeline.unet.train()
    with pytest.raises(NonFiniteImagesError, match="the generated images are not finite"):
        generate_images(pipeline.unet, pipeline.scheduler, fixed_noise(2, pipeline.unet), 2, progress=False)
    assert pipeline.unet.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_inference_steps": 0}, r"`num_inference_steps` must lie in 1\.\.100, got 0"),
        ({"num_inference_steps": 101}, r"`num_inference_steps` must lie in 1\.\.100, got 101"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
    ],
)
def test_numbers_that_cannot_work_are_refused(options: dict, message: str, pipeline: DDPMPipeline) -> None:
    with pytest.raises(ValueError, match=message):
        generate_images(pipeline.unet, pipeline.scheduler, fixed_noise(2, pipeline.unet), **options)
