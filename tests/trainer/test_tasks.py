"""The loss is the Trainer's: other tasks, losses of one's own and ways to save memory work as they do there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Examples, build_model, copied, differing
from torch import nn
from transformers import BertConfig, BertForTokenClassification, GPT2Config, GPT2LMHeadModel, TrainerCallback

from hf_invwnn import InvWNNUnlearner


Make = Callable[..., InvWNNUnlearner]


def moved(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return set(differing(copied(model), before))


def without_accuracy(predictions: Any) -> dict[str, float]:
    return {}


def test_token_classification(make_unlearner: Make, texts: Examples) -> None:
    """A label for each token, some of which do not count."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForTokenClassification(BertConfig(vocab_size=20, max_position_embeddings=16, num_labels=3, **sizes))
    ids = texts.columns["input_ids"][:16]
    labels = torch.where(torch.arange(16) % 4 == 0, -100, ids % 3)
    forget = Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    before = copied(model)
    trainer = make_unlearner(model, forget, compute_metrics=without_accuracy, learning_rate=3e-3)
    trainer.train()
    assert "classifier.weight" in moved(model, before)
    assert trainer.history[-1]["eval_forget_loss"] > trainer.history[0]["eval_forget_loss"]


def test_causal_language_modelling(make_unlearner: Make, texts: Examples) -> None:
    """Without accuracy and UA, the loss on D_f is what rises."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=16, vocab_size=20, bos_token_id=0, eos_token_id=0)
    )
    ids = texts.columns["input_ids"][:16]
    forget = Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids.clone())
    trainer = make_unlearner(model, forget, compute_metrics=without_accuracy, learning_rate=3e-3)
    trainer.train()
    assert trainer.history[-1]["eval_forget_loss"] > trainer.history[0]["eval_forget_loss"]
    assert "ua" not in trainer.history[0]


def test_a_loss_function_of_ones_own_is_what_is_learned(
    make_unlearner: Make, vit: nn.Module, digits: Examples
) -> None:
    """One that looks only at class 0 leaves the rows of the other classes where they are."""

    def only_the_first(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        return outputs["logits"][:, 0].mean()

    before = copied(vit)["classifier.weight"]
    make_unlearner(vit, digits.part(0, 16), compute_loss_func=only_the_first).train()
    after = vit.classifier.weight.detach()
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


def test_label_smoothing_reaches_the_loss(make_unlearner: Make, digits: Examples) -> None:
    """Smoothed entirely, the labels say nothing: two different ones end at the same weights."""
    ends = []
    forget = digits.part(0, 16)
    for labels in (forget.columns["labels"], (forget.columns["labels"] + 1) % 10):
        model = build_model("vit")
        make_unlearner(model, forget.relabelled(labels), label_smoothing_factor=1.0).train()
        ends.append(copied(model))
    start = copied(build_model("vit"))
    assert differing(ends[0], start) != []
    for name, value in ends[0].items():
        assert (value - ends[1][name]).abs().max() <= 1e-6 + 1e-3 * (value - start[name]).abs().max(), name


def test_gradient_checkpointing_changes_nothing(make_unlearner: Make, digits: Examples) -> None:
    ends = []
    for checkpointing in (False, True):
        model = build_model("vit")
        make_unlearner(model, digits.part(0, 16), gradient_checkpointing=checkpointing).train()
        ends.append(copied(model))
    assert differing(*ends) == []


def test_bfloat16_autocast_moves_float32_weights(make_unlearner: Make, digits: Examples) -> None:
    """Snapshots and predictions are those of the float32 weights, near a run without autocast and not equal to it."""
    ends = []
    for autocast in (False, True):
        model = build_model("vit")
        make_unlearner(model, digits.part(0, 16), bf16=autocast, optim="sgd", learning_rate=0.05).train()
        ends.append(copied(model))
    start = copied(build_model("vit"))
    assert {value.dtype for value in ends[1].values()} == {torch.float32}
    assert differing(*ends) != []
    away = sum(float((ends[0][name] - ends[1][name]).square().sum()) for name in start) ** 0.5
    way = sum(float((ends[0][name] - start[name]).square().sum()) for name in start) ** 0.5
    assert away < 0.1 * way


def test_a_model_of_16_bits_is_warned_of(
    make_unlearner: Make, digits: Examples, caplog: pytest.LogCaptureFixture
) -> None:
    """As a language model may come from the Hub; steps of fine-tuning below the rounding are not in a trajectory."""
    for dtype, said in ((torch.float32, False), (torch.bfloat16, True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="hf_invwnn.methods.invwnn"):
            make_unlearner(build_model("vit").to(dtype), digits.part(0, 16), num_rewinds=1).train()
        assert ("tracked tensors of 16 bits" in caplog.text) is said
        assert ("`dtype=torch.float32` and set `bf16=True`" in caplog.text) is said


@pytest.mark.parametrize("change", ["freeze", "add", "replace"])
def test_parameters_that_change_between_snapshots_end_the_run_by_name(
    make_unlearner: Make, vit: nn.Module, digits: Examples, change: str
) -> None:
    """A trajectory of other parameters would be nonsense; the weights are those before the turn."""

    class Change(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step != 3:
                return
            if change == "freeze":
                vit.classifier.bias.requires_grad_(False)
            elif change == "add":
                vit.added = nn.Parameter(torch.zeros(1))
            else:
                vit.classifier.bias = nn.Parameter(torch.zeros(10))

    weight = vit.classifier.weight.detach().clone()
    with pytest.raises(RuntimeError, match=r"`model`: .*(added|classifier\.bias)"):
        make_unlearner(vit, digits.part(0, 16), callbacks=[Change()]).train()
    assert torch.equal(vit.classifier.weight, weight)


def test_a_gradient_that_is_not_finite_ends_the_run_at_the_last_good_weights(
    make_unlearner: Make, vit: nn.Module, digits: Examples
) -> None:
    """At the next snapshot, and not only when all of a recording is wasted."""
    calls = []

    def sometimes(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        if vit.training:
            calls.append(1)
        return outputs["logits"].mean() * (float("nan") if len(calls) == 2 else 1.0)

    before = copied(vit)
    trainer = make_unlearner(vit, digits.part(0, 16), compute_loss_func=sometimes)
    trainer.train()
    assert "is not finite" in trainer.stop_reason
    assert len(calls) <= 3
    assert differing(copied(vit), before) == []
