"""Unlearning of diffusion pipelines: their loss, their moving average, stopping, saving, resuming and bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, Value
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, IPNDMScheduler
from helpers import RaiseAt, align, build_predictor, copied, differing, unchanged, without_seconds
from transformers import TrainerCallback

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
from hf_invwnn.cli.push import collect_contents
from hf_invwnn.diffusion import (
    DiffusionImages,
    FixedNoise,
    ForgetRatioJudge,
    ForgetRatioTarget,
    ImageClassifier,
    NoisePredictionModel,
    OwnSamples,
    diffusion_methods,
    diffusion_unlearner,
    fixed_noise,
    generate_images,
    load_pipeline,
    noise_prediction_loss,
    save_pipeline,
)
from hf_invwnn.errors import NonFiniteImagesError
from hf_invwnn.methods import NegGradUnlearner, RandomLabelUnlearner
from hf_invwnn.trainer import Unlearner


Make = Callable[..., Any]


def loss_on(unet: Any, dataset: Any) -> torch.Tensor:
    """The loss of all examples of a `FixedNoise` as one batch."""
    batch = [dataset[index] for index in range(len(dataset))]
    clean, noise, timesteps = (
        torch.stack([e[name] for e in batch]) for name in ("pixel_values", "noise", "timesteps")
    )
    return noise_prediction_loss(unet, DDPMScheduler(num_train_timesteps=100), clean, noise, timesteps)


class FallingJudge(ForgetRatioJudge):
    """Returns the ratios of a test, one for each call; `None` stands for a model that generates NaN."""

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
        method="task_vector",
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
        method="neg_grad",
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


@pytest.mark.parametrize("method", ["invwnn", "task_vector", "neg_grad", "neg_merge"])
def test_every_method_raises_the_loss_of_what_it_forgets(
    method: str, pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    assert method in diffusion_methods()
    own: dict[str, Any] = {"runs": 2} if method == "neg_merge" else {}
    unlearner = make_diffusion_unlearner(pipeline, images, method, learning_rate=3e-3, **own)
    unlearner.train()
    losses = [point["eval_forget_loss"] for point in unlearner.history]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 0.01
    assert not pipeline.unet.training


# ---- Without `diffusion_unlearner` ----


@pytest.mark.parametrize(
    ("method", "kind", "kwargs"),
    [("invwnn", InvWNNUnlearner, {"predictor": LinearPredictor()}), ("neg_grad", NegGradUnlearner, {})],
)
def test_an_unlearner_on_a_noise_prediction_model_gives_the_same_weights(
    method: str,
    kind: type[Unlearner],
    kwargs: dict[str, Any],
    make_unet: Make,
    images: DiffusionImages,
    make_diffusion_unlearner: Make,
) -> None:
    def pipeline() -> DDPMPipeline:
        return DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))

    rules = [ForgetRatioTarget(1.0)]
    judge, same_judge = FallingJudge(10.0, 9.0, 8.0), FallingJudge(10.0, 9.0, 8.0)
    through = make_diffusion_unlearner(pipeline(), images, method, judge=judge, stopping_rules=rules, **kwargs)
    through.train()
    model = NoisePredictionModel(pipeline())
    evaluators = [same_judge.evaluate]
    plain = kind(model, through.args, images, stopping_rules=rules, evaluators=evaluators, **kwargs)
    plain.train()
    for unlearner in (through, plain):
        assert [point["eval_forget_ratio"] for point in unlearner.history] == [10.0, 9.0, 8.0]
    assert differing(copied(model), copied(through.model)) == []
    assert differing(copied(model.unet), copied(make_unet())) == list(copied(make_unet()))


def test_a_method_that_needs_labels_is_refused_by_name(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"must be one of invwnn, task_vector, neg_grad.*, got 'random_label'"):
        make_diffusion_unlearner(pipeline, images, "random_label")
    args = UnlearningArguments(output_dir=str(tmp_path / "out"), report_to="none")
    with pytest.raises(ValueError, match="`model`: Random Label needs class labels"):
        RandomLabelUnlearner(NoisePredictionModel(pipeline), args, images)


# ---- As a model of the Trainer ----


@pytest.mark.parametrize("method", ["invwnn", "neg_grad"])
def test_accumulated_batches_give_the_step_of_one_large_batch(
    method: str, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    fixed, start, steps = FixedNoise(images.select(range(8)), 100), copied(make_unet()), []
    for batch, accumulated in ((8, 1), (1, 8)):
        pipeline = DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))
        make_diffusion_unlearner(
            pipeline,
            fixed,
            method,
            num_rewinds=1,
            num_snapshots=2,
            optim="sgd",
            learning_rate=0.1,
            max_grad_norm=0.0,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulated,
        ).train()
        steps.append({name: value - start[name] for name, value in copied(pipeline.unet).items()})
    for name, step in steps[0].items():
        assert step.abs().max() > 0
        torch.testing.assert_close(step, steps[1][name], rtol=1e-4, atol=5e-7)


def test_class_labels_are_an_input_and_an_evaluation_returns_a_loss_only(
    make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    """Columns that the UNet does not take are removed, here of a `datasets.Dataset` of tensors."""
    pipeline = DDPMPipeline(make_unet(num_class_embeds=5), DDPMScheduler(num_train_timesteps=100))
    columns = {"pixel_values": images.pixel_values[:8].tolist(), "class_labels": [4] * 8, "source": ["scan"] * 8}
    dataset = Dataset.from_dict(columns).with_format("torch")
    unlearner = make_diffusion_unlearner(pipeline, dataset, per_device_train_batch_size=8, num_rewinds=1)
    assert unlearner.label_names == []
    output = unlearner.predict(FixedNoise(dataset, 100))
    assert output.metrics["test_loss"] == unlearner.measure()["eval_forget_loss"]
    assert (output.predictions, output.label_ids) == ((), ())
    unlearner.train()
    assert unlearner.history[-1]["eval_forget_loss"] > unlearner.history[0]["eval_forget_loss"]


def test_only_parameters_that_match_the_pattern_move(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    before = copied(pipeline.unet)
    make_diffusion_unlearner(pipeline, images, tracked_parameters="up_blocks").train()
    moved = differing(copied(pipeline.unet), before)
    assert moved == [name for name in before if "up_blocks" in name]


# ---- Data sets and pipelines ----


def test_a_data_set_of_images_is_converted(
    pipeline: DDPMPipeline, make_diffusion_unlearner: Make, digits: Any
) -> None:
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


def test_a_class_conditional_unet_gets_the_class_labels(
    make_unet: Make, make_diffusion_unlearner: Make, images: DiffusionImages
) -> None:
    pipeline = DDPMPipeline(make_unet(num_class_embeds=5), DDPMScheduler(num_train_timesteps=100))
    before = pipeline.unet.class_embedding.weight.detach().clone()
    labelled = DiffusionImages(images.pixel_values, class_labels=torch.full((len(images),), 4))
    make_diffusion_unlearner(pipeline, labelled).train()
    moved = (pipeline.unet.class_embedding.weight - before).abs().amax(dim=1)
    assert moved[4] > 0
    assert (moved[:4] == 0).all()


def test_a_folder_provides_trained_weights_and_both_are_saved(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    save_pipeline(pipeline, tmp_path / "original", make_unet(seed=1))
    unlearner = make_diffusion_unlearner(tmp_path / "original", images)
    unlearner.train()
    unlearner.save_model(tmp_path / "forgotten")
    loaded = load_pipeline(tmp_path / "forgotten")
    assert differing(copied(loaded.pipeline.unet), copied(unlearner.model.pipeline.unet)) == []
    assert differing(copied(loaded.trained), copied(unlearner.model.unet)) == []
    assert differing(copied(unlearner.model.pipeline.unet), copied(pipeline.unet)) != []


def test_the_saved_pipeline_has_the_same_weights_and_generates_the_same_images(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    """The images are bitwise the same once the loaded weights are aligned in memory like the saved ones."""
    unlearner = make_diffusion_unlearner(pipeline, images, trained_unet=make_unet(seed=1))
    unlearner.train()
    unlearner.save_model()
    loaded = DDPMPipeline.from_pretrained(tmp_path / "out")
    unlearned = unlearner.model.pipeline
    assert differing(copied(loaded.unet), copied(unlearned.unet)) == []
    align(loaded.unet)
    noise = fixed_noise(4, loaded.unet)
    in_memory, from_disk = (
        generate_images(p.unet, p.scheduler, noise, 5, progress=False) for p in (unlearned, loaded)
    )
    assert torch.equal(in_memory, from_disk)
    pictures = []
    for each in (unlearned, loaded):
        each.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        pictures.append(each(generator=generator, num_inference_steps=3, output_type="np").images)
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


def test_the_metrics_of_a_judge_are_in_the_history(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make, classifier: ImageClassifier
) -> None:
    judge = ForgetRatioJudge(classifier, 4, fixed_noise(8, pipeline.unet), num_inference_steps=2, progress=False)
    unlearner = make_diffusion_unlearner(
        pipeline, images, num_rewinds=1, judge=judge, stopping_rules=[ForgetRatioTarget(0.0)]
    )
    expected = judge(pipeline.unet, pipeline.scheduler)["eval_forget_ratio"]
    unlearner.train()
    assert unlearner.history[0]["eval_forget_ratio"] == expected


def test_a_run_ends_where_the_ratio_is_low_enough_between_two_rounds(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    judge = FallingJudge(10.0, 4.0, 0.0, 1.5, 0.8, 0.8)
    unlearner = make_diffusion_unlearner(
        pipeline, images, num_rewinds=5, judge=judge, stopping_rules=[ForgetRatioTarget(1.0)]
    )
    unlearner.train()
    assert [point["eval_forget_ratio"] for point in unlearner.history] == [10.0, 4.0, 0.8]
    assert unlearner.history[-1]["fraction"] == 0.75
    assert unlearner.stop_reason == "forget ratio <= 1 % is met by round 2, 0.750 of the way"
    assert judge.ratios == []


def test_a_round_after_which_the_model_generates_nan_is_undone(
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
    assert "round 2 was undone, the generated images are not finite" in unlearner.stop_reason
    assert differing(copied(pipeline.unet), weights[1]) == []


def test_a_nan_in_the_search_between_two_rounds_counts_as_too_far(
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
        pipeline,
        easy,
        eval_dataset=images,
        stop_at_unseen_loss=True,
        max_unseen_loss_rise=10.0,
        num_rewinds=40,
        learning_rate=1e-2,
    )
    unlearner.train()
    last = unlearner.history[-1]
    assert unlearner.history[0]["eval_forget_loss"] < 0.95 * unlearner.history[0]["eval_unseen_loss"]
    assert last["eval_forget_loss"] == pytest.approx(unlearner.history[0]["eval_unseen_loss"], rel=0.01)


# ---- Resuming ----


@pytest.mark.parametrize("method", ["invwnn", "neg_grad"])
def test_an_interrupted_run_resumes_bitwise(
    method: str, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    def start(folder: str, **options: Any) -> Any:
        pipeline = DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))
        run = {"save_strategy": "steps", "save_steps": 3, "output_dir": str(tmp_path / folder), **options}
        return make_diffusion_unlearner(pipeline, images, method, trained_unet=make_unet(seed=1), **run)

    whole = start("whole")
    whole.train()
    broken = start("broken", callbacks=[RaiseAt(5, RuntimeError("interrupted"))])
    with pytest.raises(RuntimeError, match="interrupted"):
        broken.train()
    resumed = start("broken")
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.model.pipeline.unet), copied(whole.model.pipeline.unet)) == []
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)


# ---- Bad input ----


@pytest.mark.parametrize(
    ("images_shape", "options", "message"),
    [
        ((4, 1, 10, 10), {}, r"`forget_dataset` has images of 10 x 10 pixels and 1 channel, but the UNet takes 8 x 8"),
        ((4, 3, 8, 8), {}, "`forget_dataset` has images of 8 x 8 pixels and 3 channels"),
        ((0, 1, 8, 8), {}, "`forget_dataset` is empty"),
        (
            (4, 1, 8, 8),
            {"target_ua": 50.0},
            "`target_ua` needs an accuracy .*, got 50.0, but the labels of NoisePredictionModel",
        ),
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
        with pytest.raises(ValueError, match="`trained_unet` must have the same parameters as the UNet of the pip"):
            make_diffusion_unlearner(
                DDPMPipeline(unet, DDPMScheduler()), images, trained_unet=make_unet(block_out_channels=(4, 4))
            )
        with pytest.raises(TypeError, match="`pipeline` must be a diffusion pipeline"):
            make_diffusion_unlearner(unet, images)
        with pytest.raises(TypeError, match="`args` must be UnlearningArguments"):
            diffusion_unlearner(DDPMPipeline(unet, DDPMScheduler()), None, images)  # type: ignore[arg-type]


def test_an_error_in_training_leaves_the_last_good_weights_in_unet_and_average(
    pipeline: DDPMPipeline, make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    trained = make_unet(seed=1)
    unlearner = make_diffusion_unlearner(
        pipeline, images, trained_unet=trained, callbacks=[RaiseAt(2, RuntimeError("out of memory"))]
    )
    with unchanged(pipeline.unet), unchanged(trained), pytest.raises(RuntimeError, match="out of memory"):
        unlearner.train()


def test_an_error_in_the_second_round_leaves_the_average_of_the_first(
    make_unet: Make, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    def run(**options: Any) -> DDPMPipeline:
        pipeline = DDPMPipeline(make_unet(), DDPMScheduler(num_train_timesteps=100))
        unlearner = make_diffusion_unlearner(pipeline, images, trained_unet=make_unet(seed=1), **options)
        if "callbacks" in options:
            with pytest.raises(RuntimeError, match="out of memory"):
                unlearner.train()
        else:
            unlearner.train()
        return pipeline

    first = run(max_forget_steps=4)
    failed = run(callbacks=[RaiseAt(6, RuntimeError("out of memory"))])
    assert differing(copied(failed.unet), copied(first.unet)) == []
    assert differing(copied(failed.unet), copied(make_unet())) != []


# ---- Sharing ----


def test_a_saved_pipeline_has_a_record_and_a_card(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make, tmp_path: Path
) -> None:
    """`hf-invwnn push` uploads the components, the record, and a card that describes the run."""
    unlearner = make_diffusion_unlearner(pipeline, images, num_rewinds=1)
    unlearner.train()
    unlearner.save_model()
    contents = collect_contents(tmp_path / "out", "ada/forgotten")
    assert contents.components == ("scheduler", "unet")
    assert {name for name in contents.files if "/" not in name} == {"model_index.json", "unlearning.json"}
    assert "32" in str(contents.card)
    assert "DDPMPipeline" in str(contents.card)


def test_a_recovery_is_steered_to_half_of_the_target(
    pipeline: DDPMPipeline, images: DiffusionImages, make_diffusion_unlearner: Make
) -> None:
    """With no image in the class more is kept, with as many as allowed less, and the weight stays half way between."""
    # The start and a round below the target of rewinding (0.8), then the eight steps of a recovery.
    judge = FallingJudge(10.0, 0.75, *(0.5,) * 4, 0.0, 1.0, 0.5, 0.5)
    unlearner = make_diffusion_unlearner(
        pipeline, images, num_rewinds=5, judge=judge, stopping_rules=[ForgetRatioTarget(1.0)], recovery_steps=8,
        surrogates=OwnSamples(count=4, num_inference_steps=2),
    )  # fmt: skip
    weights: list[float] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if unlearner.recovering:
                weights.append(unlearner.run_state.weight)

    unlearner.add_callback(Watch())
    unlearner.train()
    assert judge.ratios == [] and unlearner.outcome == "reached"
    assert weights == [1.0] * 5 + [2.0, 1.0, 1.0]
    assert ForgetRatioTarget(0.0).steering({"eval_forget_ratio": 0.0}) == -1
