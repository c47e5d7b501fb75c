"""With LoRA only the adapter is tracked and moved: a language model forgets given sentences and keeps the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, copied, differing
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.trajectory.memory import trajectory_bytes


WORDS, LENGTH = 64, 12


def sentences(count: int, seed: int) -> Examples:
    """Random words, each followed by its successor: half of every sentence can be known without having seen it."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(1, WORDS - 1, (count, LENGTH // 2), generator=generator)
    ids = torch.stack([first, first + 1], dim=2).flatten(1)
    return Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids.clone())


def loss_on(model: Any, examples: Examples) -> float:
    model.eval()
    with torch.no_grad():
        return float(model(**examples.columns).loss)


@pytest.fixture(scope="module")
def pretrained() -> dict[str, torch.Tensor]:
    """A tiny GPT-2 that knows the language from many sentences, none of them those of the tests."""
    model = build()
    train = sentences(2048, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        batch = torch.randint(0, 2048, (64,), generator=generator)
        optimizer.zero_grad()
        model(**{name: column[batch] for name, column in train.columns.items()}).loss.backward()
        optimizer.step()
    return copied(model)


def build() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": LENGTH, "vocab_size": WORDS}
    off = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **sizes, **off))


@pytest.mark.slow
def test_a_language_model_forgets_sentences_through_its_adapter(
    make_unlearner: Callable[..., InvWNNUnlearner], pretrained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Their loss comes up to that of unseen sentences, the loss on those stays within 2 %, and the base as it was."""
    base = build()
    base.load_state_dict(pretrained)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=["c_attn", "c_fc", "c_proj"]))
    forget, unseen = sentences(16, seed=1), sentences(256, seed=2)
    others = sentences(256, seed=3)
    # Among many others, and three times as often.
    known = Examples(
        **{name: torch.cat([column.repeat(3, 1), others.columns[name]]) for name, column in forget.columns.items()}
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    model.train()
    for _ in range(16):
        optimizer.zero_grad()
        model(**known.columns).loss.backward()
        optimizer.step()
    before = {"forget": loss_on(model, forget), "unseen": loss_on(model, unseen)}
    assert before["forget"] < 0.9 * before["unseen"], "there must be something to forget"
    frozen = {name: value for name, value in copied(model).items() if "lora_" not in name}

    unlearner = make_unlearner(
        model, forget, eval_dataset=unseen, stop_at_unseen_loss=True, num_rewinds=40, learning_rate=1e-3,
        residual_scale=0.3, compute_metrics=lambda predictions: {},
    )  # fmt: skip
    unlearner.train()
    tracked = unlearner.tracked.parameters
    assert all("lora_" in name for name in tracked)
    stored = trajectory_bytes(unlearner.tracked.shards, 4, "float32")
    assert stored == 4 * 4 * sum(value.numel() for value in tracked.values())
    after = {"forget": loss_on(model, forget), "unseen": loss_on(model, unseen)}
    assert after["forget"] == pytest.approx(after["unseen"], rel=0.021)
    assert after["unseen"] <= 1.02 * before["unseen"]
    assert differing({name: copied(model)[name] for name in frozen}, frozen) == []
    unlearner.save_model()
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
