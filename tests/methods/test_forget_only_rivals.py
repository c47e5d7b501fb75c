"""The definitions of L2UL, AMUN, MU-Mis, JiT, NegMerge and the anchored task vector, computed independently."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, build_model, copied, differing, unchanged
from torch import nn
from torch.nn import functional
from transformers import TrainerCallback

from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import (
    AMUNUnlearner,
    AnchoredTaskVectorUnlearner,
    JiTUnlearner,
    L2ULUnlearner,
    MUMisUnlearner,
    NegMergeUnlearner,
)
from hf_invwnn.methods.pixels import PixelUnits, descend


PIXELS: dict[str, Any] = {"pixel_mean": [0.5], "pixel_std": [0.5]}


@pytest.fixture
def args(tmp_path: Path) -> Any:
    def make(**settings: Any) -> UnlearningArguments:
        quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
        short = {"num_rewinds": 1, "num_snapshots": 2, "per_device_train_batch_size": 16, "recovery_steps": 0}
        return UnlearningArguments(str(tmp_path / "out"), **{**quiet, **short, **settings})

    return make


@pytest.fixture
def batch(noisy: Examples) -> dict[str, torch.Tensor]:
    return {name: column[:8] for name, column in noisy.columns.items()}


def shifted(model: nn.Module) -> nn.Module:
    """A model that is no longer the original one."""
    with torch.no_grad():
        model.classifier.bias.add_(0.1 * torch.arange(10.0))  # type: ignore[operator, union-attr]
    return model


def test_a_descent_stays_in_its_radius_and_lowers_the_loss(memorised_vit: nn.Module, batch: Any) -> None:
    units = PixelUnits([0.5], [0.5])
    classify = units.classifier(memorised_vit.eval())
    pixels, classes = units.of(batch["pixel_values"]), (batch["labels"] + 1) % 10
    radius = torch.linspace(0.1, 0.8, 8)
    moved = descend(classify, pixels, classes, radius, radius / 5, 20)
    assert ((moved - pixels).flatten(1).norm(dim=1) <= radius * (1 + 1e-5)).all()
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    before, after = (functional.cross_entropy(classify(x), classes, reduction="none") for x in (pixels, moved))
    assert (after < before).all()
    torch.testing.assert_close(units.normalised(pixels), batch["pixel_values"])


def test_one_step_of_a_descent_goes_along_the_gradient(memorised_vit: nn.Module, batch: Any) -> None:
    units = PixelUnits([0.5], [0.5])
    classify = units.classifier(memorised_vit.eval())
    pixels = (0.2 + 0.6 * units.of(batch["pixel_values"])).requires_grad_(True)  # far from 0 and 1
    (gradient,) = torch.autograd.grad(functional.cross_entropy(classify(pixels), batch["labels"]), pixels)
    moved = descend(classify, pixels.detach(), batch["labels"], torch.full((8,), 9.0), torch.full((8,), -0.05), 1)
    for image, before, direction in zip(moved, pixels.detach(), gradient, strict=True):
        torch.testing.assert_close(image - before, 0.05 * direction / direction.norm(), atol=1e-6, rtol=1e-3)


def test_l2ul_is_its_three_terms(args: Any, memorised_vit: nn.Module, noisy: Examples, batch: Any) -> None:
    unlearner = L2ULUnlearner(memorised_vit, args(), noisy, weight=3.0, **PIXELS)
    unlearner.prepare_run()
    start = copied(memorised_vit)
    shifted(memorised_vit)
    drawn: list[torch.Tensor] = []
    near = unlearner.adversarial
    unlearner.adversarial = lambda images, classes: drawn.append(classes) or near(images, classes)  # type: ignore
    loss = unlearner.compute_loss(memorised_vit.train(), dict(batch))
    (other,) = drawn
    assert (other != batch["labels"]).all() and ((other >= 0) & (other < 10)).all()
    forget, keep = (
        functional.cross_entropy(memorised_vit(pixel_values=images).logits, labels)
        for images, labels in ((batch["pixel_values"], batch["labels"]), (near(batch["pixel_values"], other), other))
    )
    change = 0.0
    for name, value in memorised_vit.named_parameters():
        difference = (value - start[name]).square()
        change += float(((1 - unlearner.importances[name]) * difference).sum()) / 2
    torch.testing.assert_close(loss.item(), (keep - forget).item() + 3 * change, rtol=1e-4, atol=1e-6)
    assert change > 0


def test_l2ul_scales_its_importances_in_each_tensor(args: Any, memorised_vit: nn.Module, noisy: Examples) -> None:
    few = noisy.part(0, 4)
    unlearner = L2ULUnlearner(memorised_vit, args(), few, **PIXELS)
    unlearner.prepare_run()
    total = torch.zeros_like(memorised_vit.classifier.weight)  # type: ignore[arg-type, union-attr]
    for image in few.columns["pixel_values"]:
        length = memorised_vit.eval()(pixel_values=image[None]).logits.square().sum().sqrt()
        total += torch.autograd.grad(length, memorised_vit.classifier.weight)[0].abs()  # type: ignore[union-attr]
    expected = (total - total.min()) / (total.max() - total.min())
    torch.testing.assert_close(unlearner.importances["classifier.weight"], expected, rtol=1e-4, atol=1e-6)


def test_amun_trains_on_the_nearest_images_of_another_class(
    args: Any, memorised_vit: nn.Module, noisy: Examples, batch: Any
) -> None:
    unlearner = AMUNUnlearner(memorised_vit, args(), noisy, radius=0.05, **PIXELS)
    images, classes = unlearner.adversarial(batch["pixel_values"], batch["labels"])
    logits = memorised_vit.eval()(pixel_values=images).logits
    assert torch.equal(logits.argmax(dim=1), classes) and (classes != batch["labels"]).all()
    distances = ((images - batch["pixel_values"]) * 0.5).flatten(1).norm(dim=1)
    # Within half of the radius at which it was found there was none, so a larger search finds none much nearer.
    units = PixelUnits([0.5], [0.5])
    pixels = units.of(batch["pixel_values"])
    half = distances / 2.5
    nearer = descend(units.classifier(memorised_vit), pixels, batch["labels"], half, -half / 10, 50)
    still = units.classifier(memorised_vit)(nearer).argmax(dim=1) == batch["labels"]
    assert still.all()
    loss = unlearner.compute_loss(shifted(memorised_vit).train(), dict(batch))
    torch.testing.assert_close(loss, functional.cross_entropy(memorised_vit(pixel_values=images).logits, classes))


def test_mu_mis_is_a_difference_of_sensitivities(args: Any, noisy: Examples, batch: Any) -> None:
    model: Any = build_model("resnet").eval()
    unlearner = MUMisUnlearner(model, args(), noisy, weight=0.5)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    torch.manual_seed(5)
    loss = unlearner.compute_loss(model, dict(batch))
    torch.manual_seed(5)
    other = (batch["labels"] + torch.randint(1, 10, (8,))) % 10
    expected = 0.0
    for row in range(8):
        image = batch["pixel_values"][row : row + 1].clone().requires_grad_(True)
        logits = model(pixel_values=image).logits[0]
        for place, weight in ((batch["labels"][row], 1.0), (other[row], -0.5)):
            gradient = torch.autograd.grad(logits[place], image, retain_graph=True)[0]
            expected += weight * float(gradient.square().sum()) / 8
    torch.testing.assert_close(loss.item(), expected, rtol=1e-4, atol=1e-6)
    loss.backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_jit_is_the_change_of_the_outputs_by_that_of_the_inputs(
    args: Any, memorised_vit: nn.Module, noisy: Examples, batch: Any
) -> None:
    unlearner = JiTUnlearner(memorised_vit, args(), noisy, deviation=0.2, draws=3)
    torch.manual_seed(5)
    loss = unlearner.compute_loss(memorised_vit.train(), dict(batch))
    torch.manual_seed(5)
    expected = 0.0
    for _ in range(3):
        noise = 0.2 * torch.randn_like(batch["pixel_values"])
        answers, moved = (
            memorised_vit(pixel_values=x).logits for x in (batch["pixel_values"], batch["pixel_values"] + noise)
        )
        for row in range(8):
            expected += float((moved[row] - answers[row]).norm() / noise[row].norm()) / 24
    torch.testing.assert_close(loss.item(), expected, rtol=1e-4, atol=1e-6)


class Record(TrainerCallback):
    """Keeps the weights after every step."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.weights = model, []  # type: ignore[var-annotated]

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.weights.append(copied(self.model))


def test_neg_merge_subtracts_what_all_runs_agree_on(
    args: Any, memorised_vit: nn.Module, memorised: dict[str, torch.Tensor], noisy: Examples
) -> None:
    """Three runs of one epoch of two batches, each from the same weights."""
    options = {"num_snapshots": 4, "residual_scale": 0.7, "optim": "sgd", "learning_rate": 0.05}
    unlearner = NegMergeUnlearner(memorised_vit, args(**options), noisy, runs=3, rates=(1.0, 0.5))
    record = Record(memorised_vit)
    unlearner.add_callback(record)
    unlearner.callback_handler.callbacks.insert(0, unlearner.callback_handler.callbacks.pop())
    unlearner.train()
    ends, agreed = [record.weights[step] for step in (1, 3, 5)], 0
    for name, value in memorised_vit.named_parameters():
        taus = torch.stack([end[name] - memorised[name] for end in ends])
        same = (taus.sign() == taus[0].sign()).all(dim=0)
        expected = memorised[name] - 0.7 * torch.where(same & (taus[0] != 0), taus.mean(dim=0), 0.0)
        torch.testing.assert_close(value.detach(), expected, rtol=1e-4, atol=1e-7)
        agreed += int(same.sum())
    assert 0 < agreed < sum(value.numel() for value in memorised.values())
    first = [sum(float((record.weights[step][n] - memorised[n]).abs().sum()) for n in memorised) for step in (0, 2)]
    assert first[1] < 0.8 * first[0]  # the second run had half the rate


def test_the_runs_of_neg_merge_do_not_depend_on_each_other(
    args: Any, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """With the examples always in one order they are one run: the optimizer remembers nothing of the one before."""
    options = {"num_rewinds": 2, "num_snapshots": 7, "residual_scale": 0.1, "per_device_train_batch_size": 32}
    options |= {"train_sampling_strategy": "sequential"}
    unlearner = NegMergeUnlearner(memorised_vit, args(**options, learning_rate=1e-3), noisy, runs=3, rates=(1.0,))
    record = Record(memorised_vit)
    unlearner.add_callback(record)
    unlearner.train()
    assert len(record.weights) == 12
    for first in (0, 6):
        for step in (0, 1):
            for run in (2, 4):
                assert differing(record.weights[first + run + step], record.weights[first + step]) == []


def test_neg_merge_has_runs_of_whole_intervals(args: Any, memorised_vit: nn.Module, noisy: Examples) -> None:
    with unchanged(memorised_vit), pytest.raises(ValueError, match=re.escape("set `num_snapshots=16`")):
        NegMergeUnlearner(memorised_vit, args(num_snapshots=15), noisy)
    with pytest.raises(ValueError, match="`runs` must be at least 2, got 1"):
        NegMergeUnlearner(memorised_vit, args(), noisy, runs=1)
    with pytest.raises(ValueError, match="`rates` must be positive factors"):
        NegMergeUnlearner(memorised_vit, args(num_snapshots=6), noisy, rates=(1.0, 0.0))


def test_the_anchored_task_vector_is_that_of_the_anchor(
    args: Any, memorised_vit: nn.Module, memorised: dict[str, torch.Tensor], noisy: Examples
) -> None:
    """Two rounds; the second goes on where the fine-tuning of the first ended."""
    anchor = build_model("vit", seed=3)
    before = copied(anchor)
    options = {"num_rewinds": 2, "num_snapshots": 3, "residual_scale": 0.4, "learning_rate": 1e-3}
    unlearner = AnchoredTaskVectorUnlearner(memorised_vit, args(**options), noisy, anchor=anchor)
    record = Record(memorised_vit)
    unlearner.add_callback(record)
    unlearner.train()
    assert differing(copied(anchor), before) == []
    end = record.weights[-1]
    for name, value in memorised_vit.named_parameters():
        expected = memorised[name] - 0.4 * (end[name] - before[name])
        torch.testing.assert_close(value.detach(), expected, rtol=1e-4, atol=1e-6)


def test_an_anchor_of_another_shape_is_refused(args: Any, memorised_vit: nn.Module, noisy: Examples) -> None:
    with (
        unchanged(memorised_vit),
        pytest.raises(ValueError, match=r"`anchor` must have '.*' of shape .* no such tensor"),
    ):
        AnchoredTaskVectorUnlearner(memorised_vit, args(), noisy, anchor=build_model("resnet"))


def test_attention_without_a_second_gradient_is_refused(args: Any, memorised_vit: nn.Module, noisy: Examples) -> None:
    with unchanged(memorised_vit), pytest.raises(ValueError, match="'sdpa' attention, whose gradient has no gradient"):
        MUMisUnlearner(memorised_vit, args(), noisy)


@pytest.mark.parametrize("method", [JiTUnlearner, MUMisUnlearner, L2ULUnlearner, AMUNUnlearner])
def test_ids_are_no_numbers(method: Any, args: Any, bert: nn.Module, texts: Examples) -> None:
    own = PIXELS if method in (L2ULUnlearner, AMUNUnlearner) else {}
    message = f"{method.title} needs inputs that are numbers, got input_ids"
    with unchanged(bert), pytest.raises(ValueError, match=re.escape(message)):
        method(bert, args(), texts.part(0, 8), **own)


@pytest.mark.parametrize(
    ("method", "own", "message"),
    [
        (L2ULUnlearner, {"radius": 0.0}, "`radius` must be positive"),
        (L2ULUnlearner, {"weight": -1.0}, "`weight` must be 0 or above"),
        (AMUNUnlearner, {"steps": 0}, "`steps` must be positive"),
        (MUMisUnlearner, {"weight": float("nan")}, "`weight` must be positive"),
        (JiTUnlearner, {"deviation": 0.0}, "`deviation` must be positive"),
        (JiTUnlearner, {"draws": 0}, "`draws` must be positive"),
    ],
)
def test_bad_numbers_are_refused(
    method: Any, own: dict[str, Any], message: str, args: Any, memorised_vit: nn.Module, noisy: Examples
) -> None:
    pixels = PIXELS if method in (L2ULUnlearner, AMUNUnlearner) else {}
    with unchanged(memorised_vit), pytest.raises(ValueError, match=message):
        method(memorised_vit, args(), noisy, **pixels, **own)
