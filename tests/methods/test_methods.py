"""Each method follows the definition of its paper, and has the stopping rules and checkpoints of every unlearner."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import Examples, RaiseAt, build_model, copied, differing, unchanged, with_noise, without_seconds
from torch import nn
from torch.nn import functional
from transformers import TrainerCallback, TrainingArguments

from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import METHODS, make_unlearner, retrain
from hf_invwnn.trainer.unlearner import Unlearner


MEAN, STD = [0.5], [0.5]  # the digits of the tests are in -1..1
OWN: dict[str, dict[str, Any]] = {
    **{name: {"pixel_mean": MEAN, "pixel_std": STD} for name in ("boundary_shrink", "l2ul", "amun")},
    "neg_merge": {"runs": 2},
    "anchored_task_vector": {"anchor": build_model("vit", seed=3)},
    "rmu": {"coefficient": 40.0, "alpha": 10.0},
    "ssd": {"alpha": 1.0},  # the default of 10 dampens nothing in a model this small
}
# Learning rates at which each method forgets on the tiny ViT within a few epochs.
# Arguments without which a method does not forget on the tiny ViT.
SETTINGS: dict[str, dict[str, Any]] = {
    "neg_merge": {"num_snapshots": 5, "residual_scale": 2.0},
    "anchored_task_vector": {"num_snapshots": 5, "residual_scale": 1.0},
    **{
        name: {"num_snapshots": 15, "residual_scale": 0.5, "learning_rate": 1e-3} for name in ("invwnn", "task_vector")
    },
}
RATES = {"neg_grad": 1e-3, "neg_grad_plus": 3e-3, "fine_tuning": 1e-2, "scrub": 3e-3, "ssd": 1e-3}
Make = Callable[..., Unlearner]


@pytest.fixture
def retained(digits: Examples) -> Examples:
    return with_noise(digits).part(32, 192)


@pytest.fixture
def make(tmp_path: Path, noisy: Examples, retained: Examples) -> Make:
    """The unlearner of a method, measured after every epoch."""

    def build(name: str, model: nn.Module, own: dict[str, Any] | None = None, **options: Any) -> Unlearner:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "num_rewinds": 3,
            "num_snapshots": 2,
            "recovery_steps": 0,
            "learning_rate": RATES.get(name, 3e-3),
            "per_device_train_batch_size": 16,
            "per_device_eval_batch_size": 256,
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "report_to": "none",
            "use_cpu": True,
        }
        args = UnlearningArguments(**{**defaults, **SETTINGS.get(name, {}), **options})
        if name == "mu_mis":
            model.set_attn_implementation("eager")  # type: ignore[operator]
        return make_unlearner(name, model, args, noisy, retained, **{**OWN.get(name, {}), **(own or {})})

    return build


def batch_of(examples: Examples, count: int = 8) -> dict[str, torch.Tensor]:
    return {name: column[:count] for name, column in examples.columns.items()}


# ---- What they have in common ----


@pytest.mark.parametrize("name", METHODS)
def test_every_method_forgets_and_stops_where_it_is_told(name: str, make: Make, memorised_vit: nn.Module) -> None:
    options: dict[str, Any] = {"num_rewinds": 60, "target_ua": 30.0, "ua_tolerance": 4.0}
    unlearner = make(name, memorised_vit, **options)
    unlearner.train()
    assert unlearner.history[0]["ua"] == 0
    assert "target_ua = 30 is met" in str(unlearner.stop_reason)
    assert abs(unlearner.measure()["eval_forget_accuracy"] - 0.7) <= 0.041


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_recover_and_ends_where_it_is_told(name: str, make: Make, memorised_vit: nn.Module) -> None:
    """The second phase is the trainer's: methods with pairs, masks, views and importances stay out of it."""
    options: dict[str, Any] = {
        "num_rewinds": 60,
        "target_ua": 30.0,
        "recovery_steps": 8,
        "recovery_learning_rate": 1e-3,
    }
    unlearner = make(name, memorised_vit, **options)
    unlearner.train()
    assert unlearner.outcome == "reached", unlearner.stop_reason
    assert unlearner.history[-1]["recovery"] == 8 and "after recovery" in str(unlearner.stop_reason)
    assert abs(unlearner.measure()["eval_forget_accuracy"] - 0.7) <= 0.041


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(
    name: str, make: Make, memorised_vit: nn.Module, memorised: dict[str, torch.Tensor]
) -> None:
    options: dict[str, Any] = {"weight_decay": 0.1, "learning_rate": 1e-3}
    whole = make(name, memorised_vit, **options)
    whole.train()
    expected = copied(memorised_vit)
    # One step into the second round.
    step = whole.state.global_step // 3 + 1
    memorised_vit.load_state_dict(memorised)
    broken = make(name, memorised_vit, **options, save_strategy="steps", save_steps=step)
    broken.add_callback(RaiseAt(step + 1, SystemError("power cut")))
    broken.callback_handler.callbacks.insert(0, broken.callback_handler.callbacks.pop())
    with pytest.raises(SystemError, match="power cut"):
        broken.train()
    memorised_vit.load_state_dict(memorised)
    resumed = make(name, memorised_vit, **options)
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(memorised_vit), expected) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert differing(expected, memorised) != []


def test_a_run_does_not_depend_on_its_evaluation_sets(
    make: Make, memorised: dict[str, torch.Tensor], digits: Examples
) -> None:
    """Evaluations draw from no generator that random labels or the order of batches come from."""
    ends = []
    for eval_sets in ({}, {"test": digits.part(500, 700), "validation": digits.part(700, 900)}):
        model = build_model("vit")
        model.load_state_dict(memorised)
        make("random_label", model, {"eval_dataset": eval_sets}).train()
        ends.append(copied(model))
    assert differing(*ends) == []
    assert differing(ends[0], memorised)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.needs_retain])
def test_without_retained_examples_a_method_that_needs_them_is_refused(
    name: str, memorised_vit: nn.Module, noisy: Examples, tmp_path: Path
) -> None:
    args = UnlearningArguments(output_dir=str(tmp_path))
    message = rf"`retain_dataset` is None, and {re.escape(METHODS[name].title)} trains"
    with unchanged(memorised_vit), pytest.raises(ValueError, match=message):
        make_unlearner(name, memorised_vit, args, noisy)


@pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if not method.needs_retain and not method.records_trajectory]
)
def test_a_forget_only_method_refuses_retained_examples(
    name: str, memorised_vit: nn.Module, noisy: Examples, retained: Examples, tmp_path: Path
) -> None:
    args = UnlearningArguments(output_dir=str(tmp_path))
    with pytest.raises(ValueError, match=f"{METHODS[name].title} is forget-only"):
        METHODS[name](memorised_vit, args, noisy, retain_dataset=retained, **OWN.get(name, {}))


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.needs_labels])
def test_a_method_that_needs_labels_is_refused_without(
    name: str, vit: nn.Module, digits: Examples, tmp_path: Path
) -> None:
    unlabelled = Dataset.from_dict({"pixel_values": np.zeros((4, 1, 8, 8), np.float32)})
    args = UnlearningArguments(output_dir=str(tmp_path))
    with unchanged(vit), pytest.raises(ValueError, match=f"{METHODS[name].title} needs class labels"):
        make_unlearner(name, vit, args, unlabelled, unlabelled, **OWN.get(name, {}))


def test_an_unknown_method_names_the_known_ones(vit: nn.Module, noisy: Examples, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"invwnn, task_vector, random_label, .* pruning, got 'forget_me'"):
        make_unlearner("forget_me", vit, UnlearningArguments(output_dir=str(tmp_path)), noisy)


# ---- Their definitions ----


def test_random_label_learns_drawn_labels(make: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    unlearner: Any = make("random_label", memorised_vit)
    batch = batch_of(noisy)
    torch.manual_seed(3)
    loss = unlearner.compute_loss(memorised_vit.train(), batch)
    torch.manual_seed(3)
    drawn = torch.randint(10, (8,))
    expected = functional.cross_entropy(memorised_vit(pixel_values=batch["pixel_values"]).logits, drawn)
    assert loss == expected
    draws = [torch.randint(10, (8,)) for _ in range(200)]
    assert (torch.stack(draws) == batch["labels"]).any(), "the true label may be drawn"
    assert unlearner.compute_loss(memorised_vit.eval(), batch) == functional.cross_entropy(
        memorised_vit(pixel_values=batch["pixel_values"]).logits, batch["labels"]
    ), "evaluations are of the task"


@pytest.mark.parametrize("optimizer", [{}, {"optim": "sgd", "optim_args": "momentum=0.9"}])
def test_salun_leaves_what_is_masked_bitwise_unchanged(
    make: Make,
    memorised_vit: nn.Module,
    memorised: dict[str, torch.Tensor],
    noisy: Examples,
    optimizer: dict[str, Any],
) -> None:
    model = memorised_vit
    gradient = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for start in (0, 16):
        loss = model(**{name: column[start : start + 16] for name, column in noisy.columns.items()}).loss
        for (name, _), value in zip(
            model.named_parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            gradient[name] += value
    unlearner: Any = make(
        "salun",
        model,
        {"mask_share": 0.3},
        per_device_eval_batch_size=16,
        weight_decay=0.1,
        learning_rate=1e-2,
        **optimizer,
    )
    unlearner.train()
    every = torch.cat([value.abs().flatten() for value in gradient.values()])
    count = round(0.3 * every.numel())
    least = every.sort(descending=True).values[count - 1]
    moved = torch.cat([(model.state_dict()[name] != memorised[name]).flatten() for name in gradient])
    assert not moved[every < 0.999 * least].any(), "masked weights are where they were"
    assert moved[every > 1.001 * least].float().mean() > 0.99, "the others moved"


def test_boundary_shrink_takes_the_teachers_nearest_class(
    make: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    unlearner: Any = make("boundary_shrink", memorised_vit, {"step": 0.3})
    batch = batch_of(noisy, 32)
    images = ((batch["pixel_values"] + 1) / 2).requires_grad_(True)  # in 0..1
    functional.cross_entropy(memorised_vit(pixel_values=2 * images - 1).logits, batch["labels"]).backward()
    assert images.grad is not None
    attacked = torch.clamp(images.detach() + 0.3 * images.grad.sign(), 0, 1)
    expected = memorised_vit(pixel_values=2 * attacked - 1).logits.argmax(-1)
    labels = unlearner.boundary_labels(batch)
    assert torch.equal(labels, expected)
    assert (labels != batch["labels"]).any(), "the attack leaves the class for some"
    with torch.no_grad():
        memorised_vit.classifier.bias.add_(torch.arange(10.0))  # type: ignore[operator, union-attr]
    assert torch.equal(unlearner.boundary_labels(batch), expected), "the teacher is the model as it was"


def test_boundary_shrink_must_know_the_pixels(vit: nn.Module, noisy: Examples, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`pixel_mean` and `pixel_std` are needed"):
        make_unlearner("boundary_shrink", vit, UnlearningArguments(output_dir=str(tmp_path)), noisy)


def test_boundary_expand_trains_to_a_class_that_is_gone_afterwards(
    make: Make, memorised_vit: nn.Module, memorised: dict[str, torch.Tensor], noisy: Examples
) -> None:
    unlearner: Any = make("boundary_expand", memorised_vit)
    batch = batch_of(noisy)
    with unlearner._expanded_head():
        head: Any = memorised_vit.classifier
        loss = unlearner.compute_loss(memorised_vit.train(), batch)
        features = memorised_vit.vit(batch["pixel_values"]).last_hidden_state[:, 0]  # type: ignore[operator, union-attr]
        row = head.expanded_class
        wide = torch.cat([features @ head.weight.T + head.bias, (features @ row[:-1] + row[-1])[:, None]], dim=1)
        expected = functional.cross_entropy(wide, torch.full((8,), 10))
        torch.testing.assert_close(loss, expected)
        assert memorised_vit.eval()(pixel_values=batch["pixel_values"]).logits.shape == (8, 10)
    unlearner.train()
    assert copied(memorised_vit).keys() == memorised.keys()
    assert differing(copied(memorised_vit), memorised) != []
    assert not head._forward_hooks


def test_neg_grad_goes_up_the_loss(make: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    unlearner = make("neg_grad", memorised_vit)
    batch = batch_of(noisy)
    expected = memorised_vit(**batch).loss
    assert unlearner.compute_loss(memorised_vit.train(), batch) == -expected
    unlearner.train()
    losses = [point["eval_forget_loss"] for point in unlearner.history]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0]


def test_a_method_that_diverges_is_undone_and_ended(make: Make, memorised_vit: nn.Module) -> None:
    unlearner = make("neg_grad", memorised_vit, learning_rate=1e30, optim="sgd", num_rewinds=10)
    unlearner.train()
    assert "was undone" in str(unlearner.stop_reason)
    assert all(value.isfinite().all() for value in copied(memorised_vit).values())


def test_the_task_vector_is_subtracted(
    make: Make, memorised_vit: nn.Module, memorised: dict[str, torch.Tensor]
) -> None:
    options: dict[str, Any] = {"num_rewinds": 1, "num_snapshots": 4, "seed": 5, "learning_rate": 1e-3}
    tuned = make("invwnn", memorised_vit, {"predictor": Backwards()}, residual_scale=0.25, **options)
    tuned.train()
    fine_tuned = copied(memorised_vit)
    memorised_vit.load_state_dict(memorised)
    make("task_vector", memorised_vit, residual_scale=0.3, **options).train()
    for name, value in memorised_vit.named_parameters():
        expected = memorised[name] - 0.3 * (fine_tuned[name] - memorised[name])
        torch.testing.assert_close(value.detach(), expected, rtol=1e-5, atol=1e-7)


class Backwards:
    """Takes a rewind to where the fine-tuning ended, at a residual scale of 0.25."""

    num_snapshots = None

    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        return 4 * (trajectory[-1] - trajectory[0])


def test_fine_tuning_steps_on_the_retain_set(make: Make, memorised_vit: nn.Module, retained: Examples) -> None:
    unlearner = make("fine_tuning", memorised_vit)
    seen = torch.cat([batch["pixel_values"] for batch in unlearner.get_train_dataloader()])
    pixels = retained.columns["pixel_values"]
    assert sorted(map(float, seen.flatten(1).sum(1))) == sorted(map(float, pixels.flatten(1).sum(1)))


def test_neg_grad_plus_weighs_both_losses(
    make: Make, memorised_vit: nn.Module, noisy: Examples, retained: Examples
) -> None:
    unlearner = make("neg_grad_plus", memorised_vit, {"alpha": 0.8})
    pair = next(iter(unlearner.get_train_dataloader()))
    assert pair.keys() == {"retain", "forget"}
    expected = 0.8 * memorised_vit(**pair["retain"]).loss - 0.2 * memorised_vit(**pair["forget"]).loss
    torch.testing.assert_close(unlearner.compute_loss(memorised_vit.train(), pair), expected)
    allowed = {float(image.sum()) for image in noisy.columns["pixel_values"]}
    assert {float(image.sum()) for image in pair["forget"]["pixel_values"]} <= allowed


def test_scrub_alternates_max_and_min_steps(
    make: Make, memorised_vit: nn.Module, noisy: Examples, retained: Examples
) -> None:
    unlearner: Any = make("scrub", memorised_vit, {"alpha": 0.3, "gamma": 0.7, "temperature": 2.0})
    pair = {"forget": batch_of(noisy), "retain": batch_of(retained)}
    with torch.no_grad():
        teacher = {part: memorised_vit(**batch).logits for part, batch in pair.items()}
        memorised_vit.classifier.bias.add_(0.3 * torch.arange(10.0))  # type: ignore[operator, union-attr]
        student = {part: memorised_vit(**batch).logits for part, batch in pair.items()}
    divergence = {}
    for part in pair:
        p, q = (functional.softmax(logits.double() / 2, -1) for logits in (teacher[part], student[part]))
        divergence[part] = 4 * (p * (p / q).log()).sum(-1).mean()
    supervised = functional.cross_entropy(student["retain"].double(), pair["retain"]["labels"])
    expected = {0: -divergence["forget"], 1: 0.3 * divergence["retain"] + 0.7 * supervised}
    memorised_vit.train()
    for step, value in expected.items():
        unlearner.state.global_step = step
        assert unlearner.compute_loss(memorised_vit, pair).item() == pytest.approx(value.item(), rel=1e-4)


def test_scrub_ends_with_min_steps_alone(
    make: Make, memorised_vit: nn.Module, noisy: Examples, retained: Examples
) -> None:
    """As the authors do in their last epochs."""
    unlearner: Any = make("scrub", memorised_vit, {"max_epochs": 2})
    pair = {"forget": batch_of(noisy), "retain": batch_of(retained)}
    with torch.no_grad():
        memorised_vit.classifier.bias.add_(0.3 * torch.arange(10.0))  # type: ignore[operator, union-attr]
    losses = {}
    for epoch, step in ((1.9, 20), (2.0, 20), (2.0, 21)):
        unlearner.state.epoch, unlearner.state.global_step = epoch, step
        losses[epoch, step] = unlearner.compute_loss(memorised_vit.train(), pair).item()
    assert losses[1.9, 20] < 0 < losses[2.0, 20] == losses[2.0, 21]


@pytest.mark.parametrize("name", ["fine_tuning", "neg_grad_plus", "scrub", "neg_grad"])
def test_statistics_follow_where_retained_examples_are_trained_on(name: str, make: Make, digits: Examples) -> None:
    """As these methods were published; never on the forget set alone, and not in a recovery."""
    model = build_model("resnet")
    buffers = {key for key, _ in model.named_buffers() if "running" in key}
    before = copied(model)
    watched: list[dict[str, torch.Tensor]] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if unlearner.recovering:
                watched.append({key: value for key, value in copied(model).items() if key in buffers})

    unlearner = make(name, model, num_rewinds=1, recovery_steps=3)
    unlearner.add_callback(Watch())
    unlearner.train()
    assert bool(set(differing(copied(model), before)) & buffers) == (name != "neg_grad")
    assert len(watched) >= 2 and differing(watched[0], watched[-1]) == []
    assert unlearner.used_settings is not None
    assert unlearner.used_settings["freeze_normalization"] is (name == "neg_grad")


def test_ssd_needs_whole_epochs(make: Make, memorised_vit: nn.Module) -> None:
    with unchanged(memorised_vit), pytest.raises(ValueError, match="must be 'epoch' for SSD"):
        make("ssd", memorised_vit, snapshot_strategy="steps")


def test_ssd_dampens_by_the_importances(
    make: Make, memorised_vit: nn.Module, memorised: dict[str, torch.Tensor], noisy: Examples, retained: Examples
) -> None:
    model = memorised_vit
    batches = {"forget": 32, "retain": 160}
    importance: dict[str, dict[str, torch.Tensor]] = {}
    for part, count in batches.items():
        columns = (noisy if part == "forget" else retained).columns
        sums = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        for start in range(0, count, count):
            loss = model(**{name: column[start : start + count] for name, column in columns.items()}).loss
            for name, value in zip(sums, torch.autograd.grad(loss, list(model.parameters())), strict=True):
                sums[name] += value**2
        importance[part] = sums
    # One batch holds all, so that the order of the batches does not matter; D_f is repeated five times in it.
    unlearner = make("ssd", model, {"alpha": 1.5, "dampening": 0.8}, num_rewinds=1, per_device_train_batch_size=160)
    unlearner.train()
    changed = 0
    for name, value in model.named_parameters():
        forget, retain = importance["forget"][name], importance["retain"][name]
        whole = 32 / 192 * forget + 160 / 192 * retain
        beta = torch.clamp(0.8 * whole / forget, max=1)
        expected = torch.where(forget > 1.5 * whole, beta * memorised[name], memorised[name])
        if forget.max() < 1e-12:
            continue  # the bias of the keys has no gradient but rounding
        torch.testing.assert_close(value.detach(), expected, rtol=1e-3, atol=1e-6)
        changed += int((value != memorised[name]).sum())
    assert changed > 100


def test_retraining_starts_anew_and_sees_no_forget_set(
    memorised_vit: nn.Module, retained: Examples, tmp_path: Path
) -> None:
    args = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=60,
        per_device_train_batch_size=32,
        learning_rate=1e-2,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=4,
    )
    before = copied(memorised_vit)
    retrained_model: Any = retrain(memorised_vit, args, retained)  # type: ignore[arg-type]
    assert differing(copied(memorised_vit), before) == []
    predicted = retrained_model(pixel_values=retained.columns["pixel_values"]).logits.argmax(-1)
    assert (predicted == retained.columns["labels"]).float().mean() > 0.95
    fresh: Any = build_model("vit", seed=4)
    distance = math.sqrt(sum(float((retrained_model.state_dict()[n] - v).square().sum()) for n, v in before.items()))
    assert distance > 1 and fresh.config.num_labels == 10
    with pytest.raises(ValueError, match="`retain_dataset` is missing or empty"):
        retrain(memorised_vit, args, retained.part(0, 0))  # type: ignore[arg-type]
