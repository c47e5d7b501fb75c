"""A run that was interrupted in its recovery goes on as if it had not been."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    Examples,
    RaiseAt,
    build_model,
    build_predictor,
    build_unlearner,
    copied,
    differing,
    without_seconds,
)

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.errors import CheckpointMismatchError


Start = Callable[..., InvWNNUnlearner]
# Two rounds of 8 steps, then 12 of recovery: with dropout, a random order and Adam.
ROUNDS, STEPS = 16, 12
RUN: dict[str, Any] = {
    **{"warmup_intervals": 1, "learning_rate": 3e-3, "residual_scale": 0.5, "recovery_steps": STEPS},
    "recovery_learning_rate": 1e-3,
}


@pytest.fixture
def run(texts: Examples, tmp_path: Path) -> Start:
    """An unlearner of a fresh tiny BERT, always the same at its start."""

    def make(**options: Any) -> InvWNNUnlearner:
        defaults = {**RUN, "predictor": build_predictor(trajectory_scale="weight"), "output_dir": tmp_path / "out"}
        return build_unlearner(
            build_model("bert"),
            texts.part(0, 16),
            eval_dataset={"test": texts.part(900, 950)},
            **{**defaults, **options},
        )

    return make


def interrupt(trainer: InvWNNUnlearner, step: int) -> None:
    """Runs until `step` has been taken but not yet handled, as if the machine had stopped there."""
    trainer.callback_handler.callbacks.insert(0, RaiseAt(step, SystemError("power cut")))
    with pytest.raises(SystemError, match="power cut"):
        trainer.train()


def assert_same(resumed: InvWNNUnlearner, whole: InvWNNUnlearner) -> None:
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert (resumed.stop_reason, resumed.outcome) == (whole.stop_reason, whole.outcome)


@pytest.mark.parametrize(
    ("start", "step", "surrogates"),
    [
        ("rewound", ROUNDS, "edited"),
        ("original", ROUNDS, "edited"),
        *(("rewound", ROUNDS + more, "edited") for more in (1, 5, STEPS - 1)),
        ("rewound", ROUNDS + 5, "mixed_embeddings"),
    ],
)
def test_a_run_that_was_interrupted_in_recovery_equals_an_uninterrupted_one(
    start: str, step: int, surrogates: str, run: Start
) -> None:
    """Right after rewinding, in the midst, and one step before the end."""
    options: dict[str, Any] = {"recovery_start": start, "surrogates": surrogates}
    whole = run(**options)
    whole.train()
    assert whole.state.global_step == ROUNDS + STEPS and whole.history[-1]["recovery"] == STEPS
    interrupt(run(**options, save_strategy="steps", save_steps=step), step + 1)
    resumed = run(**options)
    resumed.train(resume_from_checkpoint=True)
    assert_same(resumed, whole)


@pytest.mark.parametrize("table", [True, False])
def test_the_end_at_a_target_is_that_of_an_uninterrupted_run(
    table: bool, run: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weight that steers recovery, and the search for its end, go on too; with a table of answers or without."""
    if not table:
        monkeypatch.setattr("hf_invwnn.trainer.recovery.MOST_OUTPUTS", 0)
    options = {"target_ua": 95.0, "num_rewinds": 8, "learning_rate": 1e-2}
    whole = run(**options)
    whole.train()
    began = next(int(point["step"] - point["recovery"]) for point in whole.history if "recovery" in point)
    assert whole.recovery.uses_table == table
    interrupt(run(save_strategy="steps", save_steps=began + 8, **options), began + 9)
    resumed = run(**options)
    resumed.train(resume_from_checkpoint=True)
    assert_same(resumed, whole)


def test_a_second_rewinding_after_a_recovery_goes_on_too(run: Start) -> None:
    """Its intervals begin where the recovery ended."""
    options = {"target_ua": 100.0, "num_rewinds": 4, "recovery_cycles": 2, "learning_rate": 1e-3}
    whole = run(**options)
    whole.train()
    assert whole.run_state.recoveries >= 1
    last = int(whole.history[-1]["step"])
    interrupt(run(save_strategy="steps", save_steps=last - 5, **options), last - 4)
    resumed = run(**options)
    resumed.train(resume_from_checkpoint=True)
    assert_same(resumed, whole)


@pytest.mark.parametrize(
    "change", [{"recovery_steps": 13}, {"recovery_weight": 2.0}, {"surrogates": "another"}], ids=str
)
def test_a_run_with_another_recovery_is_refused(change: dict[str, Any], run: Start) -> None:
    if "surrogates" in change:
        from hf_invwnn.surrogates import EditedTokens

        change = {"surrogates": EditedTokens(share=0.9)}
    interrupt(run(save_strategy="steps", save_steps=ROUNDS + 2), ROUNDS + 3)
    with pytest.raises(CheckpointMismatchError, match=f"`{next(iter(change))}`"):
        run(**change).train(resume_from_checkpoint=True)


def test_a_second_call_keeps_the_original_of_the_first(run: Start) -> None:
    """What recovery keeps are the answers of the model before the first call."""
    trainer = run()
    before = copied(trainer.model)
    trainer.train()
    trainer.train()
    trainer.recovery.original.restore()
    assert differing(copied(trainer.model), before) == []
