"""A saved pipeline is loaded bitwise, and an incomplete one is refused with the name of what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, IPNDMScheduler, UNet2DModel
from helpers import copied, differing
from safetensors.torch import load_file, save_file

from hf_invwnn.diffusion import load_pipeline, noise_scheduler, save_pipeline


def test_a_saved_pipeline_loads_bitwise_with_its_trained_weights(
    pipeline: DDPMPipeline, make_unet: Callable[..., UNet2DModel], tmp_path: Path
) -> None:
    """The layout of repositories on the Hub: the average under the plain name, the trained weights as `non_ema`."""
    trained = make_unet(seed=1)
    save_pipeline(pipeline, tmp_path / "saved", trained)
    loaded = load_pipeline(tmp_path / "saved")
    assert differing(copied(loaded.pipeline.unet), copied(pipeline.unet)) == []
    assert loaded.trained is not None
    assert differing(copied(loaded.trained), copied(trained)) == []
    plain = DDPMPipeline.from_pretrained(tmp_path / "saved")
    assert differing(copied(plain.unet), copied(pipeline.unet)) == []


def test_without_a_variant_there_are_no_other_trained_weights(pipeline: DDPMPipeline, tmp_path: Path) -> None:
    save_pipeline(pipeline, tmp_path / "saved")
    assert load_pipeline(str(tmp_path / "saved")).trained is None
    assert load_pipeline(pipeline) == (pipeline, None)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "model_index.json is missing or damaged"),
        (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json is missing or damaged"),
        (lambda folder: (folder / "model_index.json").write_text("[]"), "model_index.json is missing or damaged"),
        (
            lambda folder: (folder / "model_index.json").write_text('{"vae": []}'),
            "vae/ is missing or has no configuration",
        ),
        (lambda folder: (folder / "unet" / "config.json").unlink(), "unet/ is missing or has no configuration"),
        (
            lambda folder: (folder / "scheduler" / "scheduler_config.json").unlink(),
            "scheduler/ is missing or has no configuration",
        ),
        (
            lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
            "unet/ has no weights in safetensors",
        ),
        (
            lambda folder: truncate(folder / "unet" / "diffusion_pytorch_model.safetensors"),
            "unet/diffusion_pytorch_model.safetensors is damaged",
        ),
    ],
)
def test_an_incomplete_pipeline_is_refused(
    damage: Callable[[Path], None], message: str, pipeline: DDPMPipeline, tmp_path: Path
) -> None:
    folder = tmp_path / "incomplete"
    save_pipeline(pipeline, folder)
    damage(folder)
    with pytest.raises(ValueError, match=f"`pipeline`: .* is not a complete pipeline: {message}"):
        load_pipeline(folder)


def test_weights_that_lack_a_tensor_are_not_initialised_at_random(pipeline: DDPMPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "incomplete"
    save_pipeline(pipeline, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_in.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"is not a complete pipeline: unet/ lacks conv_in\.weight"):
        load_pipeline(folder)


def test_something_other_than_a_pipeline_is_refused(tmp_path: Path, make_unet: Callable[..., UNet2DModel]) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        load_pipeline(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="cannot be loaded from the folder or Hub id 'nobody/nothing'"):
        load_pipeline("nobody/nothing")
    with pytest.raises(TypeError, match="must be a diffusion pipeline with a `unet` and a `scheduler`, got UNet2D"):
        load_pipeline(make_unet())


def test_a_scheduler_that_cannot_add_noise_is_refused(make_unet: Callable[..., UNet2DModel]) -> None:
    with pytest.raises(ValueError, match="its scheduler IPNDMScheduler cannot add noise"):
        load_pipeline(DDPMPipeline(make_unet(), IPNDMScheduler()))


def test_a_scheduler_of_an_unknown_prediction_is_refused(make_unet: Callable[..., UNet2DModel]) -> None:
    with pytest.raises(ValueError, match=r"the prediction type 'flow'; supported are epsilon, sample, v_prediction"):
        load_pipeline(DDPMPipeline(make_unet(), DDPMScheduler(prediction_type="flow")))


def test_the_scheduler_of_training_has_the_noise_schedule_of_the_pipeline() -> None:
    scheduler = DDIMScheduler(
        num_train_timesteps=50, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )
    training = noise_scheduler(scheduler)
    assert torch.equal(training.alphas_cumprod, scheduler.alphas_cumprod)
    assert training.config.prediction_type == "v_prediction"


def test_nothing_but_safetensors_is_read(pipeline: DDPMPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    pipeline.save_pretrained(folder, safe_serialization=False)
    assert json.loads((folder / "model_index.json").read_text())["unet"]
    with pytest.raises(ValueError, match="pickled ones are not read"):
        load_pipeline(folder)
