"""Recovery of a pipeline: its own samples as surrogates, and the predictions of two models on the same noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from helpers import RaiseAt, TwoModels, copied, differing, without_seconds

from hf_invwnn.diffusion import DiffusionImages, NoisePredictionModel, fixed_noise, generate_images
from hf_invwnn.diffusion.own_samples import OwnSamples


Make = Callable[..., Any]
RECOVERY: dict[str, Any] = {"recovery_steps": 6, "recovery_learning_rate": 1e-3}


def test_samples_that_the_run_changes_most_are_left_out(make_unet: Make) -> None:
    """The half with the largest change of the predictions, which is computed here one sample at a time."""
    model = NoisePredictionModel(DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100)))
    surrogates = OwnSamples(count=16, num_inference_steps=5, keep=0.5, seed=3)
    other = {name: value + 0.05 * torch.randn_like(value) for name, value in copied(model).items()}
    teachers = TwoModels(model, other)
    surrogates.prepare(teachers)
    made = generate_images(model.unet, model.noise_scheduler, fixed_noise(16, model.unet, 3), 5, progress=False)
    changes = torch.stack([change_by_hand(model, other, image, place) for place, image in enumerate(made)])
    kept = changes.argsort()[:8].sort().values
    assert torch.equal(surrogates.pool["pixel_values"], made[kept])
    assert changes.max() > changes.median() > 0
    drawn = surrogates({"pixel_values": torch.zeros(100, 1, 8, 8)}, torch.Generator().manual_seed(0), lambda _: made)
    assert set(drawn) == {"pixel_values"} and len(drawn["pixel_values"]) == 100
    assert all(any(torch.equal(image, one) for one in made[kept]) for image in drawn["pixel_values"])


def change_by_hand(model: Any, other: dict[str, torch.Tensor], image: torch.Tensor, place: int) -> torch.Tensor:
    noise, total = fixed_noise(16, model.unet, 4)[place : place + 1], torch.zeros(())
    own = copied(model)
    for timestep in (10, 30, 50, 70):
        noisy = model.noise_scheduler.add_noise(image[None], noise, torch.tensor([timestep]))
        answers = []
        for weights in (own, other):
            model.load_state_dict(weights)
            with torch.no_grad():
                answers.append(model.unet(noisy, torch.tensor([timestep])).sample)
        total = total + (answers[0] - answers[1]).square().mean()
    model.load_state_dict(own)
    return total


def test_a_pipeline_recovers_and_keeps_its_predictions_on_its_own_samples(
    make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    """They are nearer to those of the original than after rewinding alone; the record names the samples."""
    ends = []
    for steps in (0, 60):
        pipeline = DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))
        unlearner = make_diffusion_unlearner(
            pipeline, images, residual_scale=3.0, learning_rate=1e-2, recovery_steps=steps, recovery_weight=4.0,
            recovery_learning_rate=3e-3,
        )  # fmt: skip
        unlearner.train()
        ends.append(pipeline.unet)
    assert unlearner.recovery.surrogates.name == "own samples" and unlearner.recovery.surrogates.forget_only
    original = make_unet()
    noise = fixed_noise(64, original, 7)
    samples = generate_images(original, DDPMScheduler(num_train_timesteps=100), noise, 10, progress=False)
    model = [
        NoisePredictionModel(DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=100))) for unet in (original, *ends)
    ]
    inputs = model[0].draw_inputs({"pixel_values": samples}, torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, alone, recovered = (one(**inputs, return_answers=True)["answers"] for one in model)
    assert (recovered - expected).square().mean() < 0.8 * (alone - expected).square().mean()


def test_noise_and_timesteps_that_a_batch_has_stay(make_unet: Make) -> None:
    model = NoisePredictionModel(DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100)))
    batch = {"pixel_values": torch.zeros(4, 1, 8, 8)}
    drawn = model.draw_inputs(batch, torch.Generator().manual_seed(0))
    assert drawn["noise"].shape == (4, 1, 8, 8) and drawn["timesteps"].dtype == torch.long
    assert (drawn["timesteps"] >= 0).all() and (drawn["timesteps"] < 100).all()
    again = model.draw_inputs(drawn, torch.Generator().manual_seed(1))
    assert all(torch.equal(again[name], drawn[name]) for name in drawn)


@pytest.mark.parametrize("step", [4, 7])
def test_a_pipeline_that_was_interrupted_in_recovery_goes_on_with_the_same_samples(
    step: int, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    def build(**options: Any) -> tuple[Any, Any]:
        pipeline = DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))
        settings = {"num_rewinds": 1, "per_device_train_batch_size": 16, **RECOVERY, **options}
        return pipeline, make_diffusion_unlearner(pipeline, images, surrogates=OwnSamples(8, 4), **settings)

    first, whole = build()
    whole.train()
    second, broken = build(save_strategy="steps", save_steps=step)
    broken.callback_handler.callbacks.insert(0, RaiseAt(step + 1, SystemError("power cut")))
    with pytest.raises(SystemError, match="power cut"):
        broken.train()
    second, resumed = build()
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(second.unet), copied(first.unet)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)


def test_a_unet_with_classes_is_told_what_to_pass(
    make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    pipeline = DDPMPipeline(make_unet(num_class_embeds=10), DDPMScheduler(num_train_timesteps=100))
    labelled = DiffusionImages(images.pixel_values, class_labels=torch.arange(32) % 10)
    with pytest.raises(ValueError, match="own samples need a UNet without conditions; pass `UnlabelledExamples`"):
        make_diffusion_unlearner(pipeline, labelled, **RECOVERY).train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` must be positive, got 0"),
        ({"keep": 0.0}, "`keep` is a share and must lie in"),
        ({"num_inference_steps": 0}, "`num_inference_steps` must be positive, got 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OwnSamples(**options)
