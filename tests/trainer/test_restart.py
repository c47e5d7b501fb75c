"""After an out-of-memory error the Trainer begins again with smaller batches: from the start of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, build_model, copied, differing, without_seconds
from torch import nn

from hf_invwnn import InvWNNUnlearner


Make = Callable[..., InvWNNUnlearner]


def out_of_memory_at(model: nn.Module, forward: int) -> None:
    """Makes a forward pass in training fail as a GPU does, once."""
    calls = 0

    def hook(module: nn.Module, inputs: Any) -> None:
        nonlocal calls
        calls += module.training
        if calls == forward and module.training:
            raise RuntimeError("CUDA out of memory.")

    model.register_forward_pre_hook(hook)


@pytest.mark.parametrize("forward", [1, 4, 8])
def test_a_run_that_ran_out_of_memory_equals_one_with_the_smaller_batch_from_the_start(
    make_unlearner: Make, digits: Examples, tmp_path: Path, forward: int
) -> None:
    """Also after a rewind; and what the steps before the error did is not taken for the start."""
    forget, options = digits.part(0, 32), {"learning_rate": 3e-3, "target_ua": 100.0, "save_strategy": "no"}
    whole = make_unlearner(build_model("vit"), forget, per_device_train_batch_size=8, **options)
    whole.train()
    model = build_model("vit")
    out_of_memory_at(model, forward)
    retried = make_unlearner(model, forget, per_device_train_batch_size=16, auto_find_batch_size=True, **options)
    # What `find_executable_batch_size` would try next is 0.9 of it; the comparison needs a batch of its own size.
    retried.train()
    used = retried.state.train_batch_size
    assert used < 16
    expected = make_unlearner(build_model("vit"), forget, per_device_train_batch_size=used, **options)
    expected.train()
    assert without_seconds(retried.history) == without_seconds(expected.history)
    assert differing(copied(model), copied(expected.model)) == []
    assert retried.run_state.changes == [
        {"step": 0, "argument": "per_device_train_batch_size", "from": 16, "to": used}
    ]
    assert torch.equal(
        torch.tensor(retried.history[0]["eval_forget_loss"]), torch.tensor(whole.history[0]["eval_forget_loss"])
    )
