"""UA of tokens: what a language model recites is not forgotten, and where no accuracy is defined there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples
from torch import nn
from transformers import (
    BartConfig,
    BartForCausalLM,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.trainer.heads import head_of


Make = Callable[..., InvWNNUnlearner]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def sentences(seed: int, count: int = 8, length: int = 10, words: int = 30) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, words, (count, length), generator=generator)
    return Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids.clone())


def gpt2(words: int = 30) -> nn.Module:
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 1, "eos_token_id": 2}
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=words, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **shape)
    ).eval()


def memorise(model: nn.Module, data: Examples, steps: int = 120) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**data.columns).loss.backward()
        optimizer.step()
    return model.eval()


def recited(model: nn.Module, data: Examples) -> float:
    """Share of the tokens after the first that the model predicts, position by position in plain Python."""
    with torch.no_grad():
        says = model(input_ids=data.columns["input_ids"]).logits.argmax(-1).tolist()
    rows = data.columns["labels"].tolist()
    hits = [
        says[i][t - 1] == rows[i][t] for i in range(len(rows)) for t in range(1, len(rows[i])) if rows[i][t] != -100
    ]
    return sum(hits) / len(hits)


def test_ua_of_a_model_that_recites_its_forget_set_is_near_zero(make_unlearner: Make) -> None:
    forget = sentences(1)
    model = memorise(gpt2(), forget)
    unlearner = make_unlearner(model, forget, eval_dataset=sentences(2), target_ua=50.0)
    start = unlearner.measure()
    assert start["eval_forget_accuracy"] == pytest.approx(recited(model, forget))
    assert start["eval_unseen_accuracy"] == pytest.approx(recited(model, sentences(2)))
    assert start["eval_unseen_accuracy"] < 0.3 < 0.9 < start["eval_forget_accuracy"]
    unlearner.train()
    assert unlearner.run_state.rounds > 0


def test_padding_does_not_count(make_unlearner: Make) -> None:
    forget = sentences(1)
    forget.columns["labels"][:, 6:] = -100
    model = memorise(gpt2(), forget, steps=20)
    measured = make_unlearner(model, forget).measure()["eval_forget_accuracy"]
    assert measured == pytest.approx(recited(model, forget))
    assert 0 < measured < 1


def test_the_loss_is_the_mean_over_the_tokens_that_are_predicted(make_unlearner: Make) -> None:
    """Also in evaluations, whose exponential is reported as the perplexity."""
    forget = sentences(1)
    forget.columns["labels"][:, 6:] = -100
    model = gpt2()
    with torch.no_grad():
        logits = model(input_ids=forget.columns["input_ids"]).logits[:, :-1].flatten(0, 1)
    mean = nn.functional.cross_entropy(logits, forget.columns["labels"][:, 1:].flatten()).item()
    assert make_unlearner(model, forget).measure()["eval_forget_loss"] == pytest.approx(mean, rel=1e-5)


def test_a_decoder_whose_loss_is_not_shifted_is_not_shifted() -> None:
    """The accuracy of a position belongs to the label that the loss of the model compares it with."""
    torch.manual_seed(0)
    shape = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
    bart = BartForCausalLM(BartConfig(vocab_size=30, max_position_embeddings=16, encoder_layers=1, **shape)).eval()
    data = sentences(1)
    with torch.no_grad():
        for model, kind in ((bart, "token"), (gpt2(), "next token")):
            output = model(input_ids=data.columns["input_ids"], labels=data.columns["labels"])
            logits, labels = output.logits, data.columns["labels"]
            if kind == "next token":
                logits, labels = logits[:, :-1], labels[:, 1:]
            assert output.loss.item() == pytest.approx(
                nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).item(), rel=1e-5
            )
            assert head_of(model) == kind


def test_token_classification_counts_labelled_tokens_only(make_unlearner: Make) -> None:
    torch.manual_seed(0)
    model = BertForTokenClassification(BertConfig(vocab_size=30, max_position_embeddings=16, num_labels=3, **SMALL))
    forget = sentences(1)
    forget.columns["labels"] = torch.where(torch.arange(10) % 4 == 0, -100, forget.columns["input_ids"] % 3)
    with torch.no_grad():
        says = model.eval()(input_ids=forget.columns["input_ids"]).logits.argmax(-1)
    counted = forget.columns["labels"] != -100
    expected = (says == forget.columns["labels"])[counted].float().mean().item()
    assert make_unlearner(model, forget).measure()["eval_forget_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"num_labels": 4, "problem_type": "multi_label_classification"}, torch.ones(8, 4)),
        ({"num_labels": 1, "problem_type": "regression"}, torch.ones(8)),
    ],
)
def test_without_classes_there_is_no_accuracy_and_no_target(
    make_unlearner: Make, config: dict[str, Any], labels: torch.Tensor
) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=30, max_position_embeddings=16, **SMALL, **config)
    ).eval()
    forget = sentences(1).relabelled(labels)
    with pytest.raises(
        ValueError, match=r"`target_ua` needs an accuracy on the forget set, got 50\.0, but the labels"
    ):
        make_unlearner(model, forget, target_ua=50.0)
    unlearner = make_unlearner(model, forget, eval_dataset=sentences(2).relabelled(labels), learning_rate=3e-3)
    unlearner.train()
    assert "ua" not in unlearner.history[0]
    unlearner.save_model()
    record = json.loads((Path(str(unlearner.args.output_dir)) / "_private" / "record.json").read_text())
    assert set(record["metrics"]["unlearned"]) == {"forget_loss", "unseen_loss"}


def test_the_record_of_a_language_model_has_losses_and_perplexities(make_unlearner: Make) -> None:
    forget = sentences(1)
    unlearner = make_unlearner(memorise(gpt2(), forget), forget, eval_dataset=sentences(2), num_rewinds=1)
    unlearner.train()
    unlearner.save_model()
    record = json.loads((Path(str(unlearner.args.output_dir)) / "_private" / "record.json").read_text())
    for point, name in ((unlearner.history[0], "original"), (unlearner.history[-1], "unlearned")):
        metrics = record["metrics"][name]
        assert metrics["forget_loss"] == pytest.approx(point["eval_forget_loss"], rel=1e-3)
        assert metrics["unseen_perplexity"] == pytest.approx(math.exp(point["eval_unseen_loss"]), rel=1e-2)
