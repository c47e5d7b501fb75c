"""Methods that draw or distil classes are refused, by name, on heads whose labels are something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, build_model, unchanged
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import METHODS, make_unlearner
from hf_invwnn.trainer.heads import NEXT_TOKEN


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
NEED_CLASSES = [
    name for name, method in METHODS.items() if method.needs_labels and NEXT_TOKEN not in getattr(method, "heads", ())
]
IDS = torch.arange(3, 3 + 8 * 10).view(8, 10) % 27 + 3


def arguments(tmp_path: Path, **options: Any) -> UnlearningArguments:
    defaults = {"num_rewinds": 1, "num_snapshots": 2, "use_cpu": True, "report_to": "none", "save_strategy": "no"}
    return UnlearningArguments(str(tmp_path), disable_tqdm=True, **{**defaults, **options})


def heads() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 1, "eos_token_id": 2}
    bert = BertConfig(vocab_size=40, max_position_embeddings=16, num_labels=5, **SMALL)
    several = BertConfig(
        vocab_size=40, max_position_embeddings=16, num_labels=5, problem_type="multi_label_classification", **SMALL
    )
    return {
        "tokens of a vocabulary": (GPT2LMHeadModel(GPT2Config(vocab_size=40, **shape)), IDS.clone()),
        "classes of tokens": (BertForTokenClassification(bert), torch.where(IDS % 2 == 0, -100, IDS % 5)),
        "no classes": (BertForSequenceClassification(several), torch.ones(8, 5)),
    }


@pytest.mark.parametrize("head", heads())
@pytest.mark.parametrize("name", NEED_CLASSES)
def test_a_head_that_a_method_cannot_work_on_is_refused_by_name(name: str, head: str, tmp_path: Path) -> None:
    model, labels = heads()[head]
    if head == "classes of tokens" and name in ("random_label", "salun"):
        return  # they work on these, see below
    data = Examples(input_ids=IDS, attention_mask=torch.ones_like(IDS), labels=labels)
    options = {"pixel_mean": [0.5], "pixel_std": [0.5]} if name in ("boundary_shrink", "l2ul", "amun") else {}
    message = f"`model`: {METHODS[name].title} works on classes of examples.* are {head}"
    with unchanged(model), pytest.raises(ValueError, match=message):
        make_unlearner(name, model, arguments(tmp_path), data, retain_dataset=data, **options)


@pytest.mark.parametrize("name", ["random_label", "salun"])
def test_labels_that_do_not_count_are_not_drawn(name: str, tmp_path: Path) -> None:
    model, labels = heads()["classes of tokens"]
    data = Examples(input_ids=IDS, attention_mask=torch.ones_like(IDS), labels=labels)
    drawn: list[torch.Tensor] = []

    def watch(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if module.training:
            drawn.append(kwargs["labels"].clone())

    unlearner = make_unlearner(name, model, arguments(tmp_path), data)
    model.register_forward_pre_hook(watch, with_kwargs=True)
    unlearner.train()
    assert all((batch == -100).sum() == (labels == -100).sum() for batch in drawn)
    assert set(drawn[0].unique().tolist()) == {-100, 0, 1, 2, 3, 4}


def test_a_classifier_of_ones_own_is_not_refused(tmp_path: Path, digits: Examples) -> None:
    """Nothing is known of its head but that it has classes."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.config = build_model("vit"), build_model("vit").config

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            return self.inner(pixel_values=pixel_values, labels=labels)

    unlearner = make_unlearner("random_label", Own(), arguments(tmp_path), digits.part(0, 16))
    unlearner.train()
    assert "ua" in unlearner.history[-1]
