"""A model answers with other weights without a second model, and has its own again afterwards."""

from __future__ import annotations

import torch
from helpers import Examples, build_model, copied, differing

from hf_invwnn.recovery.weight_copy import WeightCopy
from hf_invwnn.trajectory.tracking import TrackedParameters, select_parameters


def test_a_model_answers_with_the_copy_and_then_with_its_own_weights_again(digits: Examples) -> None:
    """BatchNorm statistics are copied too, if the run changes them."""
    model = build_model("resnet")
    tracked = TrackedParameters(select_parameters(model), dict(model.named_buffers()))
    images = digits.part(0, 8).columns["pixel_values"]
    with torch.no_grad():
        before, weights = model(images).logits, copied(model)
        copy = WeightCopy(tracked)
        for value in (*model.parameters(), *model.buffers()):
            value.copy_(value + 1)
        changed = copied(model)
        with copy.in_place(model):
            assert torch.equal(model(images).logits, before)
            assert differing(copied(model), weights) == []
        assert differing(copied(model), changed) == []
        copy.restore()
    assert differing(copied(model), weights) == []
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert differing(copied(model), weights) != [], "a restored model does not share memory with the copy"
    copy.restore()
    assert differing(copied(model), weights) == []


def test_only_what_a_run_changes_is_copied() -> None:
    model = build_model("bert")
    part = TrackedParameters(select_parameters(model, "classifier"))
    assert WeightCopy(part).nbytes == 4 * sum(value.numel() for value in model.classifier.parameters())


def test_gradients_flow_through_a_forward_pass_between_two_exchanges(digits: Examples) -> None:
    """As in a step of recovery: the original answers first, then the trained weights, then the backward pass."""
    model = build_model("vit").train()
    batch = digits.part(0, 8).columns
    copy = WeightCopy(TrackedParameters(select_parameters(model)))
    model(**batch).loss.backward()
    expected = [value.grad.clone() for value in model.parameters()]
    model.zero_grad()
    with copy.in_place(model), torch.no_grad():
        model(**batch)
    model(**batch).loss.backward()
    for value, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.equal(value.grad, gradient)
