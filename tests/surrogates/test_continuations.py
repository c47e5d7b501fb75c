"""Texts that a language model writes itself: from the original, without those that the run changes most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Examples, TwoModels, copied
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.surrogates import OwnContinuations


WORDS = 40


def language_model(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 24, "bos_token_id": 1, "eos_token_id": 2}
    return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **shape)).eval()


def no_answer(inputs: Any) -> torch.Tensor:
    raise AssertionError("the pool is made already")


def test_texts_whose_probabilities_change_most_are_left_out() -> None:
    """The rewound model differs where token 7 occurs: texts with it are those that are missing."""
    model = language_model()
    with torch.no_grad():
        model.lm_head.weight.mul_(5)
    rewound = copied(model)
    rewound["transformer.wte.weight"] = rewound["transformer.wte.weight"].clone()
    rewound["transformer.wte.weight"][7] *= -2
    rewound["lm_head.weight"] = rewound["transformer.wte.weight"]
    prompts = torch.tensor([[1, 7], [1, 8], [1, 9], [1, 10]])
    surrogates = OwnContinuations(prompts, count=40, length=6, keep=0.75, seed=1)
    state = torch.get_rng_state()
    surrogates.prepare(TwoModels(model, rewound))
    assert torch.equal(torch.get_rng_state(), state)
    pool = surrogates.pool["input_ids"]
    assert pool.shape == (30, 8) and torch.equal(surrogates.pool["attention_mask"], torch.ones_like(pool))
    made = surrogates.sample(model)["input_ids"]
    assert ((made == 7).any(dim=1)).sum() >= 10 and not (pool[:, 1] == 7).any()
    again = OwnContinuations(prompts, count=40, length=6, keep=0.75, seed=1)
    again.prepare(TwoModels(model, rewound))
    assert torch.equal(again.pool["input_ids"], pool)
    drawn = surrogates({"input_ids": torch.zeros(5, 3, dtype=torch.long)}, torch.Generator().manual_seed(0), no_answer)
    assert drawn["input_ids"].shape == (5, 8)


def test_a_language_model_recovers_on_texts_of_its_own(make_unlearner: Callable[..., InvWNNUnlearner]) -> None:
    """Their length differs from that of the forget set, so the two are answered one after the other."""
    model = language_model()
    ids = torch.randint(3, WORDS, (16, 10), generator=torch.Generator().manual_seed(0))
    forget = Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids.clone())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(**forget.columns).loss.backward()
        optimizer.step()
    for surrogates in (OwnContinuations(count=64, length=9), "edited"):
        other = language_model()
        other.load_state_dict(model.state_dict())
        unlearner = make_unlearner(
            other, forget, num_rewinds=3, residual_scale=1.0, learning_rate=1e-3, recovery_steps=60,
            recovery_learning_rate=3e-3, surrogates=surrogates,
        )  # fmt: skip
        unlearner.train()
        assert unlearner.history[-1]["recovery"] == 60, unlearner.stop_reason
        assert unlearner.recovery.uses_table and "undone" not in str(unlearner.stop_reason)
        assert unlearner.recovery.drift() < 0.7 * unlearner.run_state.drift


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OwnContinuations(length=0), "`length` must be positive, got 0"),
        (lambda: OwnContinuations(count=0), "`count` must be positive, got 0"),
        (lambda: OwnContinuations(keep=1.5), "`keep` is a share and must lie in"),
        (lambda: OwnContinuations().sample(nn.Linear(2, 2)), "Linear does not write texts"),
        (lambda: OwnContinuations()({"input_ids": torch.zeros(1, 1)}, torch.Generator(), no_answer), "there are none"),
    ],
)
def test_what_cannot_work_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
