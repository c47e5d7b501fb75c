"""A pipeline forgets as any model does: by its own loss, with its moving average, stopped, saved and resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, Value
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, IPNDMScheduler
from helpers import RaiseAt, align, build_predictor, copied, differing, unchanged, without_seconds

from hf_invwnn.cli.push import collect_contents
from hf_invwnn.diffusion import DIFFUSION_METHODS, DiffusionImages, FixedNoise, ForgetRatioJudge, ForgetRatioTarget, ImageClassifier, InvWNNDiffusionUnlearner, NegGradDiffusionUnlearner, TaskVectorDiffusionUnlearner, fixed_noise, generate_images, load_pipeline, noise_prediction_loss
from hf_invwnn.errors import NonFiniteImagesError


Make = Callable[..., Any]


def loss_on(unet: Any, dataset: Any) -> torch.Tensor:
    """Of all examples of a `FixedNoise` at once."""
    batch = [dataset[index] for index in range(len(dataset))]
    clean, noise, timesteps = (
        torch.stack([e[name] for e in batch]) for name in ("pixel_values", "noise", "timesteps")
    )
    return noise_prediction_loss(unet, DDPMScheduler(num_train_timesteps=100), clean, noise, timesteps)


class FallingJudge(ForgetRatioJudge):
    """Ratios that a test hands out, one for each look; `None` is a model that generates NaN."""

    def __init__(self, *ratios: float | None) -> None:
        self.ratios = list(ratios)

    def __call__(self, unet: Any, scheduler: Any) -> dict[str, float]:
        ratio = self.ratios.pop(0)
        if ratio is None:
            raise NonFiniteImagesError("the generated images are not finite")
        return {"eval_forget_ratio": ratio}


# ---- What moves ----


def test_every_parameter_of_the_unet_and_its_moving_average_move_by_the_same(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    trained = make_unet(seed=1)
    average_before, trained_before = copied(pipeline.unet), copied(trained)
    unlearner = make_diffusion_unlearner(
        pipeline, images, predictor=build_predictor(3), trained_unet=trained, residual_scale=0.1
    )
    unlearner.train()
    average_after, trained_after = copied(pipeline.unet), copied(trained)
    assert differing(trained_after, trained_before) == list(trained_before)
    assert differing(average_after, average_before) == list(average_before)
    for name, value in trained_after.items():
        moved = value - trained_before[name]
        torch.testing.assert_close(average_after[name] - average_before[name], moved, rtol=1e-3, atol=1e-6)


def test_one_rewind_of_the_task_vector_is_the_step_written_out(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    """theta - lambda (theta_ft - theta), where theta_ft is one step of gradient descent on the loss of all images."""
    fixed = FixedNoise(images, 100)
    start = {name: value.detach().clone() for name, value in pipeline.unet.named_parameters()}
    loss_on(pipeline.unet, fixed).backward()
    expected = {n: start[n] + 0.5 * 0.1 * p.grad for n, p in pipeline.unet.named_parameters()}
    pipeline.unet.zero_grad()
    make_diffusion_unlearner(
        pipeline,
        fixed,
        kind=TaskVectorDiffusionUnlearner,
        num_snapshots=2,
        num_rewinds=1,
        residual_scale=0.5,
        per_device_train_batch_size=32,
        optim="sgd",
        learning_rate=0.1,
    ).train()
    for name, parameter in pipeline.unet.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-4, atol=1e-6)


def test_a_step_of_neg_grad_goes_up_the_loss(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    fixed = FixedNoise(images, 100)
    start = {name: value.detach().clone() for name, value in pipeline.unet.named_parameters()}
    loss_on(pipeline.unet, fixed).backward()
    expected = {n: start[n] + 0.1 * p.grad for n, p in pipeline.unet.named_parameters()}
    pipeline.unet.zero_grad()
    unlearner = make_diffusion_unlearner(
        pipeline,
        fixed,
        kind=NegGradDiffusionUnlearner,
        num_snapshots=2,
        num_rewinds=1,
        per_device_train_batch_size=32,
        optim="sgd",
        learning_rate=0.1,
    )
    unlearner.train()
    for name, parameter in pipeline.unet.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-4, atol=1e-6)
    assert unlearner.history[1]["eval_forget_loss"] > unlearner.history[0]["eval_forget_loss"]


@pytest.mark.parametrize("method", DIFFUSION_METHODS)
def test_every_method_raises_the_loss_of_what_it_forgets(
    method: str, pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    unlearner = make_diffusion_unlearner(pipeline, images, kind=DIFFUSION_METHODS[method], learning_rate=3e-3)
    unlearner.train()
    losses = [point["eval_forget_loss"] for point in unlearner.history]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 0.01
    assert not pipeline.unet.training


# ---- What it takes ----


def test_a_data_set_of_images_will_do(pipeline: DDPMPipeline, make_diffusion_unlearner: Make, digits: Any) -> None:
    arrays = ((digits.columns["pixel_values"][:20, 0] + 1) * 127.5).to(torch.uint8).numpy()
    features = Features({"picture": Image(), "label": Value("int64")})
    dataset = Dataset.from_dict({"picture": list(arrays), "label": [4] * 20}, features=features)
    unlearner = make_diffusion_unlearner(
        pipeline, dataset, eval_dataset={"others": dataset.select(range(5))}, image_column="picture"
    )
    unlearner.train()
    assert unlearner.history[-1]["eval_others_loss"] > 0
    expected = torch.from_numpy(arrays).float().unsqueeze(1) / 127.5 - 1
    torch.testing.assert_close(unlearner.train_dataset.pixel_values, expected)


def test_a_class_conditional_unet_is_told_the_classes(
    make_unet: Make, make_diffusion_unlearner: Make, images: DiffusionImages
) -> None:
    pipeline = DDPMPipeline(make_unet(num_class_embeds=5), DDPMScheduler(num_train_timesteps=100))
    before = pipeline.unet.class_embedding.weight.detach().clone()
    labelled = DiffusionImages(images.pixel_values, class_labels=torch.full((len(images),), 4))
    make_diffusion_unlearner(pipeline, labelled).train()
    moved = (pipeline.unet.class_embedding.weight - before).abs().amax(dim=1)
    assert moved[4] > 0
    assert (moved[:4] == 0).all()


def test_a_folder_brings_its_trained_weights_and_gets_both_back(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    from hf_invwnn.diffusion import save_pipeline

    save_pipeline(pipeline, tmp_path / "given", make_unet(seed=1))
    unlearner = make_diffusion_unlearner(tmp_path / "given", images)
    unlearner.train()
    unlearner.save_model(tmp_path / "forgotten")
    found = load_pipeline(tmp_path / "forgotten")
    assert differing(copied(found.pipeline.unet), copied(unlearner.pipeline.unet)) == []
    assert differing(copied(found.trained), copied(unlearner.model)) == []
    assert differing(copied(unlearner.pipeline.unet), copied(pipeline.unet)) != []


def test_the_saved_pipeline_has_the_same_weights_and_generates_the_same_images(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    """Bit for bit once the loaded weights are aligned in memory as those of the pipeline that was saved."""
    unlearner = make_diffusion_unlearner(pipeline, images, trained_unet=make_unet(seed=1))
    unlearner.train()
    unlearner.save_model()
    loaded = DDPMPipeline.from_pretrained(tmp_path / "out")
    assert differing(copied(loaded.unet), copied(unlearner.pipeline.unet)) == []
    align(loaded.unet)
    noise = fixed_noise(4, loaded.unet)
    in_memory, from_disk = (
        generate_images(p.unet, p.scheduler, noise, 5, progress=False) for p in (unlearner.pipeline, loaded)
    )
    assert torch.equal(in_memory, from_disk)
    pictures = []
    for found in (unlearner.pipeline, loaded):
        found.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        pictures.append(found(generator=generator, num_inference_steps=3, output_type="np").images)
    assert (pictures[0] == pictures[1]).all()


def test_a_ddim_pipeline_stays_one(
    make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    pipeline = DDIMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100, prediction_type="v_prediction"))
    unlearner = make_diffusion_unlearner(pipeline, images)
    unlearner.train()
    unlearner.save_model()
    assert type(load_pipeline(tmp_path / "out").pipeline) is DDIMPipeline


# ---- When it ends ----


def test_a_real_judge_stands_in_the_history(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make, classifier: ImageClassifier
) -> None:
    judge = ForgetRatioJudge(classifier, 4, fixed_noise(8, pipeline.unet), num_inference_steps=2, progress=False)
    unlearner = make_diffusion_unlearner(
        pipeline, images, num_rewinds=1, judge=judge, stopping_rules=[ForgetRatioTarget(0.0)]
    )
    expected = judge(pipeline.unet, pipeline.scheduler)["eval_forget_ratio"]
    unlearner.train()
    assert unlearner.history[0]["eval_forget_ratio"] == expected


def test_a_run_ends_where_the_ratio_is_low_enough_between_two_rewinds(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    judge = FallingJudge(10.0, 4.0, 0.0, 1.5, 0.8, 0.8)
    unlearner = make_diffusion_unlearner(
        pipeline, images, num_rewinds=5, judge=judge, stopping_rules=[ForgetRatioTarget(1.0)]
    )
    unlearner.train()
    assert [point["eval_forget_ratio"] for point in unlearner.history] == [10.0, 4.0, 0.8]
    assert unlearner.history[-1]["fraction"] == 0.75
    assert unlearner.stop_reason == "forget ratio <= 1 % is met by rewind 2, 0.750 of the way"
    assert judge.ratios == []


def test_a_rewind_after_which_it_generates_nan_is_undone(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    weights = []

    class Remembering(FallingJudge):
        def __call__(self, unet: Any, scheduler: Any) -> dict[str, float]:
            weights.append(copied(unet))
            return super().__call__(unet, scheduler)

    unlearner = make_diffusion_unlearner(
        pipeline,
        images,
        trained_unet=make_unet(seed=1),
        num_rewinds=5,
        judge=Remembering(10.0, 9.0, None),
        stopping_rules=[ForgetRatioTarget(1.0)],
    )
    unlearner.train()
    assert "rewind 2 was undone, the generated images are not finite" in unlearner.stop_reason
    assert differing(copied(pipeline.unet), weights[1]) == []


def test_a_nan_in_the_search_between_two_rewinds_counts_as_too_far(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    judge = FallingJudge(10.0, 0.0, None, 0.9, 0.9)
    unlearner = make_diffusion_unlearner(
        pipeline, images, num_rewinds=5, judge=judge, stopping_rules=[ForgetRatioTarget(1.0)]
    )
    unlearner.train()
    assert unlearner.history[-1]["fraction"] == 0.25


def test_it_stops_where_the_loss_is_that_of_unseen_images(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    easy = DiffusionImages(torch.zeros(16, 1, 8, 8))
    for _ in range(60):  # so that the forget set is better known than noise
        optimizer = torch.optim.Adam(pipeline.unet.parameters(), lr=3e-3)
        optimizer.zero_grad()
        loss_on(pipeline.unet, FixedNoise(easy, 100)).backward()
        optimizer.step()
    unlearner = make_diffusion_unlearner(
        pipeline, easy, eval_dataset=images, stop_at_unseen_loss=True, num_rewinds=20, learning_rate=3e-3
    )
    unlearner.train()
    last = unlearner.history[-1]
    assert unlearner.history[0]["eval_forget_loss"] < 0.95 * unlearner.history[0]["eval_unseen_loss"]
    assert last["eval_forget_loss"] == pytest.approx(last["eval_unseen_loss"], rel=0.02)


# ---- Resuming ----


@pytest.mark.parametrize("method", ["invwnn", "neg_grad"])
def test_an_interrupted_run_goes_on_bitwise_as_if_it_had_not_been(
    method: str, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    def start(folder: str, **options: Any) -> Any:
        pipeline = DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))
        kind = DIFFUSION_METHODS[method]
        run = {"save_strategy": "steps", "save_steps": 3, "output_dir": str(tmp_path / folder), **options}
        return make_diffusion_unlearner(pipeline, images, kind=kind, trained_unet=make_unet(seed=1), **run)

    whole = start("whole")
    whole.train()
    broken = start("broken", callbacks=[RaiseAt(5, RuntimeError("pulled the plug"))])
    with pytest.raises(RuntimeError, match="pulled the plug"):
        broken.train()
    resumed = start("broken")
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.pipeline.unet), copied(whole.pipeline.unet)) == []
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)


# ---- Bad input ----


@pytest.mark.parametrize(
    ("images_shape", "options", "message"),
    [
        ((4, 1, 10, 10), {}, r"`forget_dataset` has images of 10 x 10 pixels and 1 channel, but the UNet takes 8 x 8"),
        ((4, 3, 8, 8), {}, "`forget_dataset` has images of 8 x 8 pixels and 3 channels"),
        ((0, 1, 8, 8), {}, "`forget_dataset` is empty"),
        ((4, 1, 8, 8), {"target_ua": 50.0}, "`target_ua` means nothing for a diffusion model"),
        ((4, 1, 8, 8), {"push_to_hub": True}, "`push_to_hub` must stay False"),
        ((4, 1, 8, 8), {"stopping_rules": [ForgetRatioTarget()]}, "`judge` is None"),
        (
            (4, 1, 8, 8),
            {"eval_dataset": {"seen": DiffusionImages(torch.zeros(2, 3, 8, 8))}},
            r"`eval_dataset\['seen'\]` has images of 8 x 8 pixels and 3 channels",
        ),
    ],
)
def test_bad_input_is_refused_and_the_pipeline_unchanged(
    images_shape: tuple[int, ...],
    options: dict[str, Any],
    message: str,
    pipeline: DDPMPipeline,
    make_diffusion_unlearner: Make,
    tmp_path: Path,
) -> None:
    with unchanged(pipeline.unet), pytest.raises(ValueError, match=message):
        make_diffusion_unlearner(pipeline, DiffusionImages(torch.zeros(images_shape)), **options)
    assert not (tmp_path / "out").exists()


def test_a_pipeline_that_cannot_be_trained_is_refused_unchanged(
    make_unet: Make, make_diffusion_unlearner: Make, images: DiffusionImages
) -> None:
    unet = make_unet()
    with unchanged(unet):
        with pytest.raises(ValueError, match="cannot add noise"):
            make_diffusion_unlearner(DDPMPipeline(unet, IPNDMScheduler()), images)
        with pytest.raises(ValueError, match="`trained_unet` must have the parameters of the pipeline's UNet"):
            make_diffusion_unlearner(
                DDPMPipeline(unet, DDPMScheduler()), images, trained_unet=make_unet(block_out_channels=(4, 4))
            )
        with pytest.raises(TypeError, match="`pipeline` must be a diffusion pipeline"):
            make_diffusion_unlearner(unet, images)
        with pytest.raises(TypeError, match="`args` must be UnlearningArguments"):
            InvWNNDiffusionUnlearner(DDPMPipeline(unet, DDPMScheduler()), None, images)  # type: ignore[arg-type]


def test_an_error_on_the_way_leaves_the_last_good_weights_in_unet_and_average(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    trained = make_unet(seed=1)
    unlearner = make_diffusion_unlearner(
        pipeline, images, trained_unet=trained, callbacks=[RaiseAt(2, RuntimeError("out of memory"))]
    )
    with unchanged(pipeline.unet), unchanged(trained), pytest.raises(RuntimeError, match="out of memory"):
        unlearner.train()


# ---- Sharing ----


def test_a_saved_pipeline_has_its_record_and_a_card_of_it(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    """What a push sends of it: the components, the record and a card that says how it came to be."""
    unlearner = make_diffusion_unlearner(pipeline, images, num_rewinds=1)
    unlearner.train()
    unlearner.save_model()
    contents = collect_contents(tmp_path / "out", "ada/forgotten")
    assert contents.components == ("scheduler", "unet")
    assert {name for name in contents.files if "/" not in name} == {"model_index.json", "unlearning.json"}
    assert "32" in str(contents.card)
    assert "DDPMPipeline" in str(contents.card)
