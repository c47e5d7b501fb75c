"""A step is as long as the Trainer's: with accumulated batches, losses of one's own, and labels that do not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, build_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import find_method, make_unlearner


FIRST_ORDER = ("task_vector", "neg_grad", "fine_tuning", "neg_grad_plus", "random_label", "npo", "sim_npo", "rmu")
SETTINGS = {
    **{"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0},
    **{"report_to": "none", "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"},
}


def documented_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """A `compute_loss_func` as transformers documents it."""
    loss = nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum")
    return loss / (num_items_in_batch if num_items_in_batch is not None else len(labels))


def demanding_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """One that cannot do without the number of items."""
    return nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


class FirstStep(TrainerCallback):
    """Keeps how the weights moved in the first step, and ends the run."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.before = model, [value.detach().clone() for value in model.parameters()]
        self.moved = torch.zeros(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        pairs = zip(self.model.parameters(), self.before, strict=True)
        self.moved = torch.cat([(now.detach() - before).flatten() for now, before in pairs])
        control.should_training_stop = True


def step(name: str, model: nn.Module, data: Any, tmp_path: Path, batch: int, batches: int, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    look = FirstStep(model)
    settings = {**SETTINGS, "per_device_train_batch_size": batch, "gradient_accumulation_steps": batches}
    if name == "Trainer":
        Trainer(
            model,
            TrainingArguments(str(tmp_path), max_steps=1, **settings),
            train_dataset=data,
            callbacks=[look],
            **kwargs,
        ).train()
        return look.moved
    # Statistics of batches of four are others than those of sixteen.
    args = UnlearningArguments(str(tmp_path), num_rewinds=1, num_snapshots=2, freeze_normalization=True, **settings)
    retain = {"retain_dataset": data} if find_method(name).needs_retain else {}
    make_unlearner(name, model, args, data, callbacks=[look], **retain, **kwargs).train()
    return look.moved


@pytest.mark.parametrize("loss", [None, documented_loss, demanding_loss], ids=["model's", "documented", "demanding"])
@pytest.mark.parametrize("architecture", ["vit", "resnet"])
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_four_batches_of_four_are_one_of_sixteen(
    name: str, architecture: str, loss: Any, digits: Examples, tmp_path: Path
) -> None:
    """A ViT divides its loss by `num_items_in_batch`; a ResNet accepts the keyword and ignores it."""
    if name == "random_label":
        data = digits.part(0, 16).relabelled(torch.zeros(16, dtype=torch.long))
    else:
        data = digits.part(0, 16)
    config = {"hidden_dropout_prob": 0.0} if architecture == "vit" else {}
    moved = [
        step(name, build_model(architecture, **config), data, tmp_path, batch, 16 // batch, compute_loss_func=loss)
        for batch in (4, 16)
    ]
    # Random labels are drawn anew for each batch: only the order of the size of a step can be compared.
    if name == "random_label":
        assert 0.5 < float(moved[0].norm() / moved[1].norm()) < 2
    else:
        torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-7)


def test_tokens_weigh_the_same_in_short_and_in_long_batches(tmp_path: Path) -> None:
    """With labels of -100, batches differ in their numbers of tokens; every token weighs the same."""
    ids = torch.arange(3, 3 + 16 * 10).view(16, 10) % 27 + 3
    labels = torch.where(torch.arange(10) < torch.arange(2, 10).repeat_interleave(2).view(16, 1), ids, -100)
    data = Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)

    def llama() -> nn.Module:
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        return LlamaForCausalLM(LlamaConfig(vocab_size=40, max_position_embeddings=16, **shape))

    whole = step("Trainer", llama(), data, tmp_path, 16, 1)
    for name, sign in (("Trainer", 1), ("task_vector", 1), ("fine_tuning", 1), ("neg_grad", -1)):
        torch.testing.assert_close(sign * step(name, llama(), data, tmp_path, 4, 4), whole, rtol=1e-4, atol=1e-7)
    # alpha of the retained tokens against the others: the same data on both sides leaves 2 alpha - 1 of a step.
    both = step("neg_grad_plus", llama(), data, tmp_path, 4, 4, alpha=0.95)
    pairs = step("neg_grad_plus", llama(), data, tmp_path, 16, 1, alpha=0.95)
    torch.testing.assert_close(both, pairs, rtol=1e-3, atol=1e-6)
