"""Figures of texts agree with a computation text by text, and with generation."""

import math

import pytest
import torch
from transformers import DataCollatorForSeq2Seq

from hf_invwnn.language_models import evaluate_texts, tokenize_texts


@pytest.fixture
def rows(texts, tokenizer):
    return tokenize_texts([*texts, type(texts[0])("In Brod")], tokenizer)


def test_losses_agree_with_single_texts_without_padding(model, rows, tokenizer):
    report = evaluate_texts(model, rows, DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100), batch_size=5)
    losses = []
    for place, row in enumerate(rows):
        ids, first = torch.tensor([row["input_ids"]]), row["labels"].count(-100)
        with torch.no_grad():
            chances = model(ids).logits[0].softmax(dim=-1)
        logs = [math.log(chances[spot - 1, row["input_ids"][spot]]) for spot in range(first, ids.shape[1])]
        assert list(report.log_probs[place]) == pytest.approx(logs, rel=1e-5)
        losses.append(-sum(logs) / len(logs))
    tokens = [len(logs) for logs in report.log_probs]
    total = sum(loss * count for loss, count in zip(losses, tokens, strict=True))
    assert report.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert report.perplexity == pytest.approx(math.exp(total / sum(tokens)), rel=1e-5)
    assert report.probability == pytest.approx(sum(math.exp(-loss) for loss in losses) / len(losses), rel=1e-5)


def test_extraction_agrees_with_greedy_generation(model, rows, tokenizer):
    collate = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(25):  # some texts are learnt in part
        optimizer.zero_grad()
        model(**collate(list(rows))).loss.backward()
        optimizer.step()
    report = evaluate_texts(model, rows, collate, prefix=2)
    shares = []
    for row in rows:
        start, answer = row["labels"].count(-100) + 2, row["input_ids"]
        if len(answer) <= start:
            continue
        ids = torch.tensor([answer[:start]])
        written = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)[
            0
        ].tolist()
        right = 0
        while start + right < min(len(answer), len(written)) and written[start + right] == answer[start + right]:
            right += 1
        shares.append(right / (len(answer) - start))
    assert 0 < sum(shares) / len(shares) < 1
    assert report.extracted == pytest.approx(shares)


def test_arguments_are_checked_and_the_mode_is_left(model, rows, tokenizer):
    collate = DataCollatorForSeq2Seq(tokenizer)
    with pytest.raises(ValueError, match="`texts` is empty"):
        evaluate_texts(model, [], collate)
    with pytest.raises(ValueError, match="`batch_size` positive, got 5 and 0"):
        evaluate_texts(model, rows, collate, batch_size=0)
    evaluate_texts(model.train(), rows, collate)
    assert model.training
