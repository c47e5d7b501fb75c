"""The loss is that of the training scripts of diffusers, and its evaluations can be compared with each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from transformers import TrainingArguments

from hf_invwnn.diffusion import DiffusionImages, DiffusionTrainer, FixedNoise, noise_prediction_loss
from hf_invwnn.diffusion.model import NoisePredictionModel


TYPES = ("epsilon", "sample", "v_prediction")


def by_the_training_scripts(
    unet: Any, images: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, prediction_type: str
) -> torch.Tensor:
    """The loss of diffusers' train_unconditional.py and train_text_to_image.py, the noise schedule written out."""
    betas = torch.linspace(1e-4, 0.02, 100)
    alpha_bar = torch.cumprod(1 - betas, 0)[timesteps].view(-1, 1, 1, 1)
    noisy = alpha_bar.sqrt() * images + (1 - alpha_bar).sqrt() * noise
    output = unet(noisy, timesteps).sample
    if prediction_type == "epsilon":
        return ((output - noise) ** 2).mean()
    if prediction_type == "sample":
        return (alpha_bar / (1 - alpha_bar) * (output - images) ** 2).mean()
    return ((output - (alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * images)) ** 2).mean()


@pytest.fixture
def make_trainer(make_unet: Callable[..., UNet2DModel], tmp_path: Path) -> Callable[..., DiffusionTrainer]:
    def make(dataset: Any, prediction_type: str = "epsilon", **options: Any) -> DiffusionTrainer:
        quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True, "save_strategy": "no"}
        kwargs = {name: options.pop(name) for name in ("ema_decay", "eval_dataset") if name in options}
        args = TrainingArguments(output_dir=str(tmp_path / "out"), **{**quiet, "optim": "sgd", **options})
        scheduler = DDPMScheduler(num_train_timesteps=100, prediction_type=prediction_type)
        return DiffusionTrainer(make_unet(), scheduler, args, dataset, **kwargs)

    return make


@pytest.mark.parametrize("prediction_type", TYPES)
def test_the_loss_is_that_of_diffusers_training_scripts(
    prediction_type: str, make_unet: Callable[..., UNet2DModel], images: DiffusionImages
) -> None:
    unet, clean = make_unet(), images.pixel_values
    noise, timesteps = torch.randn(clean.shape), torch.randint(0, 100, (len(clean),))
    scheduler = DDPMScheduler(num_train_timesteps=100, prediction_type=prediction_type)
    loss = noise_prediction_loss(unet, scheduler, clean, noise, timesteps)
    expected = by_the_training_scripts(unet, clean, noise, timesteps, prediction_type)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    loss.backward()
    gradient = unet.conv_in.weight.grad.clone()
    unet.zero_grad()
    expected.backward()
    torch.testing.assert_close(gradient, unet.conv_in.weight.grad, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_the_trainer_draws_noise_and_timesteps_and_takes_that_loss(
    prediction_type: str, make_trainer: Callable[..., DiffusionTrainer], images: DiffusionImages
) -> None:
    trainer, clean = make_trainer(images, prediction_type), images.pixel_values
    torch.manual_seed(3)
    loss = trainer.compute_loss(trainer.model, {"pixel_values": clean})
    torch.manual_seed(3)
    noise, timesteps = torch.randn(clean.shape), torch.randint(0, 100, (len(clean),))
    expected = by_the_training_scripts(trainer.model.unet, clean, noise, timesteps, prediction_type)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)


def test_an_unknown_prediction_type_is_refused(make_unet: Callable[..., UNet2DModel], images: DiffusionImages) -> None:
    scheduler = DDPMScheduler(num_train_timesteps=100, prediction_type="flow")
    clean = images.pixel_values
    with pytest.raises(ValueError, match=r"`prediction_type` must be one of .* got 'flow'"):
        noise_prediction_loss(make_unet(), scheduler, clean, clean, torch.zeros(len(clean), dtype=torch.long))


def test_accumulated_batches_give_the_step_of_one_large_batch(
    make_trainer: Callable[..., DiffusionTrainer], images: DiffusionImages
) -> None:
    fixed = FixedNoise(images.select(range(8)), 100)
    weights = []
    for batch, accumulated in ((8, 1), (1, 8)):
        trainer = make_trainer(
            fixed,
            max_steps=1,
            learning_rate=1.0,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulated,
        )
        start = trainer.model.unet.conv_out.bias.detach().clone()
        trainer.train()
        weights.append(trainer.model.unet.conv_out.bias.detach() - start)
    assert weights[0].abs().max() > 1e-4
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-7)


def test_an_evaluation_is_the_same_whatever_the_batch_size(
    make_trainer: Callable[..., DiffusionTrainer], images: DiffusionImages
) -> None:
    fixed = FixedNoise(images, 100)
    losses = []
    for batch in (3, 3, 32):
        torch.manual_seed(batch)
        trainer = make_trainer(images, eval_dataset=fixed, per_device_eval_batch_size=batch)
        trainer.model.load_state_dict(make_trainer(images).model.state_dict())
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == losses[1]
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)


def test_fixed_noise_belongs_to_an_example_and_timesteps_are_spread_evenly(images: DiffusionImages) -> None:
    fixed = FixedNoise(images, 1000, seed=1)
    assert torch.equal(fixed[3]["noise"], fixed[3]["noise"])
    assert not torch.equal(fixed[3]["noise"], fixed[4]["noise"])
    assert not torch.equal(fixed[3]["noise"], FixedNoise(images, 1000, seed=2)[3]["noise"])
    assert torch.equal(fixed[3]["pixel_values"], images[3]["pixel_values"])
    timesteps = torch.tensor([int(fixed[index]["timesteps"]) for index in range(32)])
    assert torch.histc(timesteps.float(), bins=4, min=0, max=1000).tolist() == pytest.approx([8] * 4, abs=1)


def test_training_keeps_a_moving_average_that_resumes(
    make_trainer: Callable[..., DiffusionTrainer], images: DiffusionImages, tmp_path: Path
) -> None:
    """The average of a run, and of the same run resumed, is the recursion of `EMAModel` written out."""
    run: dict[str, Any] = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "learning_rate": 0.1}
    whole = make_trainer(images, ema_decay=0.5, **run)
    trace = [whole.model.unet.conv_in.weight.detach().clone()]
    step = whole.moving_average.on_step_end

    def traced(*args: Any, **kwargs: Any) -> None:
        trace.append(whole.model.unet.conv_in.weight.detach().clone())
        step(*args, **kwargs)

    whole.moving_average.on_step_end = traced
    whole.train()
    expected = trace[0]
    for count, weight in enumerate(trace[1:], start=1):
        decay = 0.0 if count == 1 else min((count) / (9 + count), 0.5)
        expected = decay * expected + (1 - decay) * weight
    shadow = dict(whole.moving_average._named())
    torch.testing.assert_close(shadow["conv_in.weight"], expected, rtol=1e-5, atol=1e-7)

    resumed = make_trainer(images, ema_decay=0.5, **run)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    for name, value in resumed.moving_average._named():
        assert torch.equal(value, shadow[name]), name


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(
    decay: float, make_trainer: Callable[..., DiffusionTrainer], images: DiffusionImages
) -> None:
    with pytest.raises(ValueError, match=r"`ema_decay` must lie in \[0, 1\)"):
        make_trainer(images, ema_decay=decay)


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_pipeline_that_learns_its_variance_is_refused_by_name(
    variance_type: str, channels: int, make_unet: Any
) -> None:
    """The loss would broadcast over the half of the channels that holds the variance, and train it."""
    unet = make_unet(in_channels=channels, out_channels=2 * channels)
    pipeline = DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=10, variance_type=variance_type))
    with pytest.raises(ValueError, match=f"its scheduler DDPMScheduler has the variance type '{variance_type}'"):
        NoisePredictionModel(pipeline)


def test_a_prediction_of_another_shape_is_not_broadcast(make_unet: Any) -> None:
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"of shape \(2, 1, 8, 8\), got \(2, 2, 8, 8\)"):
        noise_prediction_loss(make_unet(out_channels=2), DDPMScheduler(10), images, images, torch.zeros(2, dtype=int))
