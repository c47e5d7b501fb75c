"""Recovery: its loss, that it begins and ends where it should, and that nothing of it is left if it is turned off."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ChangedImages, Examples, build_model, copied, differing, without_seconds
from scipy.special import log_softmax
from torch import nn
from transformers import TrainerCallback

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.audit.publish import run_contents
from hf_invwnn.audit.record import read_record
from hf_invwnn.audit.report import gather_report, render_report
from hf_invwnn.surrogates import ShiftedImages
from hf_invwnn.trainer.indexed import INDEX


Make = Callable[..., InvWNNUnlearner]
STEPS = 24
# The memorised ViT passes a UA of 50 within these rewinds; four batches of 8 are an epoch.
RUN: dict[str, Any] = {
    **{"num_rewinds": 12, "learning_rate": 3e-3, "residual_scale": 0.5, "target_ua": 50.0},
    **{"recovery_steps": STEPS, "recovery_learning_rate": 1e-3},
}


class Watch(TrainerCallback):
    """Calls a function after every step, before the run looks at it."""

    def __init__(self, look: Callable[[int], None]) -> None:
        self.look = look

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.look(state.global_step)


def first_step_of_recovery(unlearner: InvWNNUnlearner) -> int:
    """The step before the first measured point of a recovery."""
    point = next(point for point in unlearner.history if "recovery" in point)
    return int(point["step"] - point["recovery"])


# ---- The loss ----


@pytest.mark.parametrize(("start", "without"), [("original", False), ("rewound", False), ("rewound", True)], ids=str)
def test_the_loss_is_that_of_an_independent_computation(
    start: str, without: bool, make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """
    In the first step one of the two terms is 0, because the student is one of the teachers. The answers of the
    rewound model are kept in 16 bits.
    """
    original = build_model("vit")
    original.load_state_dict(memorised_vit.state_dict())
    surrogates = ShiftedImages(0.125)
    options = {"recovery_start": start, "recovery_weight": 0.7, "recovery_temperature": 2.0, "surrogates": surrogates}
    options["recovery_without_labels"] = without
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, **options})
    seen: list[tuple[Any, float]] = []
    compute = unlearner.compute_loss

    def watched(model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute(model, inputs, *args, **kwargs)
        if unlearner.recovering and model.training:
            seen.append((inputs, float(loss)))
        return loss

    rewound: list[dict[str, torch.Tensor]] = []
    begin = unlearner.recovery.begin
    unlearner.recovery.begin = lambda: (rewound.append(copied(memorised_vit)), begin())[1]  # type: ignore[method-assign]
    unlearner.compute_loss = watched  # type: ignore[method-assign]
    unlearner.train()

    inputs, found = seen[0]
    teacher = build_model("vit")
    teacher.load_state_dict(rewound[0])
    student = original if start == "original" else teacher
    drawn = np.random.SeedSequence([unlearner.args.seed, first_step_of_recovery(unlearner), 0]).generate_state(1)
    pixels = inputs["pixel_values"]
    generator = torch.Generator().manual_seed(int(drawn[0]))
    near = surrogates({"pixel_values": pixels}, generator, lambda batch: torch.zeros(0))["pixel_values"]

    def logs(model: nn.Module, images: torch.Tensor, taken_out: torch.Tensor | None = None) -> np.ndarray:
        with torch.no_grad():
            logits = model(pixel_values=images).logits.numpy().astype(float)
        if taken_out is not None:
            logits[np.arange(len(logits)), taken_out.numpy()] = -1e6
        return log_softmax(logits / 2.0, axis=-1)

    def kl(first: np.ndarray, second: np.ndarray) -> float:
        return 2.0**2 * float((np.exp(first) * (first - second)).sum(axis=-1).mean())

    forget = kl(logs(teacher, pixels), logs(student, pixels))
    kept = kl(logs(original, near, inputs["labels"] if without else None), logs(student, near))
    assert max(forget, kept) > 0.1 and min(forget, kept) == 0.0
    assert found == pytest.approx(forget + 0.7 * kept, rel=1e-2)


@pytest.mark.parametrize(
    "loss", [None, lambda outputs, labels, num_items_in_batch=None: 1 / 0], ids=["model's", "own"]
)
def test_accumulated_batches_are_one_step_of_a_larger_one(
    loss: Any, make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """Also with a loss function of the user's, which recovery does not use. Surrogates are made without draws."""
    start = copied(memorised_vit)
    ended = []
    for batch in (8, 32):
        memorised_vit.load_state_dict(start)
        sizes = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": 32 // batch}
        surrogates = ChangedImages(lambda pixels: pixels + 0.5)
        unlearner = make_unlearner(memorised_vit, noisy, surrogates=surrogates, **{**RUN, **sizes})
        unlearner.run_state.recovering = True
        unlearner.compute_loss_func = loss
        unlearner.recovery.remember_original()
        with torch.no_grad():
            for value in memorised_vit.parameters():
                value.mul_(0.9)
        unlearner.recovery.copies["rewound"] = unlearner.recovery.original
        unlearner.current_gradient_accumulation_steps = 32 // batch
        unlearner.accelerator.gradient_state._set_sync_gradients(True)
        memorised_vit.zero_grad()
        for part in range(0, 32, batch):
            inputs = {name: value[part : part + batch] for name, value in noisy.columns.items()}
            unlearner.training_step(memorised_vit, inputs, num_items_in_batch=torch.tensor(32))
        ended.append([value.grad.clone() for value in memorised_vit.parameters()])
    for one, other in zip(*ended, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# ---- Beginning and end ----


def test_rewinding_before_a_recovery_is_that_of_a_run_without_to_a_deeper_target(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """To the bit, and the random order of the examples with it."""
    start, kept = copied(memorised_vit), []
    unlearner = make_unlearner(memorised_vit, noisy, **RUN)
    begin = unlearner.recovery.begin
    unlearner.recovery.begin = lambda: (kept.append(copied(memorised_vit)), begin())[1]  # type: ignore[method-assign]
    unlearner.train()
    memorised_vit.load_state_dict(start)
    alone = make_unlearner(memorised_vit, noisy, **{**RUN, "recovery_steps": 0, "target_ua": 60.0})
    alone.train()
    assert differing(copied(memorised_vit), kept[0]) == []
    rewinding = [point for point in unlearner.history if "recovery" not in point]
    assert without_seconds(rewinding) == without_seconds(alone.history)
    assert not alone.recovery.copies and alone.recovery.surrogates is None


@pytest.mark.parametrize("start", ["rewound", "original"])
@pytest.mark.parametrize("target", [30.0, 50.0, 80.0])
def test_a_run_ends_within_the_tolerance_of_its_target(
    start: str, target: float, make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """With one example of 32 as the tolerance; and without evaluating another set to find the point."""
    unlearner = make_unlearner(
        memorised_vit, noisy, eval_dataset={"test": unseen}, **{**RUN, "target_ua": target, "recovery_start": start}
    )
    looked_at: list[tuple[str, ...]] = []
    measure = unlearner.measure
    unlearner.measure = lambda splits=None: (looked_at.append(splits), measure(splits))[1]  # type: ignore[method-assign]
    unlearner.train()
    last = unlearner.history[-1]
    assert unlearner.outcome == "reached", unlearner.stop_reason
    assert abs(last["ua"] - target) <= 100 / 32 and last["recovery"] == STEPS
    assert unlearner.measure(("forget",))["eval_forget_accuracy"] == pytest.approx(1 - last["ua"] / 100)
    assert unlearner.stop_reason.startswith(f"target_ua = {target:g} is met after recovery (target_ua = {target:g} is")
    assert {splits for splits in looked_at if splits is not None} <= {("forget",)}


def test_recovery_gives_back_what_rewinding_took(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, digits: Examples
) -> None:
    """At the same UA the accuracy on retained examples is higher than without."""
    start, retained = copied(memorised_vit), []
    for steps in (0, 96):
        memorised_vit.load_state_dict(start)
        unlearner = make_unlearner(
            memorised_vit, noisy, eval_dataset={"retain": digits.part(32, 192)}, surrogates="mixed" if steps else None,
            **{**RUN, "recovery_steps": steps},
        )  # fmt: skip
        unlearner.train()
        assert abs(unlearner.history[-1]["ua"] - 50) <= 100 / 32
        retained.append(unlearner.history[-1]["eval_retain_accuracy"])
    assert retained[1] > retained[0] + 0.02


def test_the_unseen_loss_is_met_after_recovery_too(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    unlearner = make_unlearner(
        memorised_vit, noisy, eval_dataset=unseen, **{**RUN, "target_ua": None, "stop_at_unseen_loss": True}
    )
    unlearner.train()
    first, last = unlearner.history[0], unlearner.history[-1]
    assert unlearner.outcome == "reached", unlearner.stop_reason
    assert last["eval_forget_loss"] == pytest.approx(first["eval_unseen_loss"], rel=0.011)
    assert last["recovery"] == STEPS


def test_a_floor_holds_at_the_end_and_not_before(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """What rewinding costs may be more than the floor allows, and what is left in the end may not."""
    unlearner = make_unlearner(
        memorised_vit, noisy, eval_dataset=unseen, max_unseen_loss_rise=0.02, max_unseen_accuracy_drop=0.01,
        **{**RUN, "target_ua": 90.0, "residual_scale": 2.0, "recovery_steps": 4},
    )  # fmt: skip
    unlearner.train()
    losses = [point["eval_unseen_loss"] for point in unlearner.history]
    highest = max(1.02 * losses[0], losses[0] + 0.2)
    assert max(losses) > highest and losses[-1] <= highest + 1e-6
    assert unlearner.outcome == "target not reached"
    assert "max_unseen_loss_rise = 0.02, max_unseen_accuracy_drop = 0.01 ends it" in str(unlearner.stop_reason)


def test_rounds_without_a_rule_are_recovered_from(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, "target_ua": None, "num_rewinds": 2})
    unlearner.train()
    assert unlearner.stop_reason == "rewinding and recovery are done after recovery (all 2 rounds are done)"
    assert [point.get("recovery", 0) for point in unlearner.history][-2:] == [22, STEPS]
    assert unlearner.state.global_step == 2 * 12 + STEPS


def test_recovery_alternates_with_rewinding(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    """A second rewinding begins from the recovered weights if the goal was missed, and is recovered from in turn."""
    options = {
        "per_device_train_batch_size": 32, "recovery_cycles": 3, "recovery_overshoot": 0.0, "recovery_weight": 8.0,
        "num_rewinds": 30, "recovery_learning_rate": 3e-4,
    }  # fmt: skip
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, **options})
    unlearner.train()
    recoveries = [point["step"] for point in unlearner.history if point.get("recovery") == STEPS]
    rounds = [point["round"] for point in unlearner.history if point.get("recovery") == STEPS]
    assert len(set(recoveries)) >= 2 and rounds == sorted(rounds) and rounds[0] < rounds[-1]
    assert unlearner.outcome == "reached", unlearner.stop_reason


def test_a_budget_leaves_room_for_recovery(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    """Two rounds of 12 steps and 24 of recovery are 48; a third round would be too many."""
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, "target_ua": 95.0, "max_forget_steps": 50})
    unlearner.train()
    assert unlearner.run_state.rounds == 2 and unlearner.history[-1]["step"] == 48
    assert "budget of 50 steps does not suffice for another round" in str(unlearner.stop_reason)


def test_a_budget_of_seconds_ends_a_recovery_with_what_is_recovered(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of one second a step, looked at when the model is measured, every second step; at the goal still."""
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, "num_rewinds": 4, "max_seconds": 57.0})
    monkeypatch.setattr("hf_invwnn.trainer.state.time.monotonic", lambda: float(unlearner.state.global_step))
    unlearner.train()
    began = first_step_of_recovery(unlearner)
    assert 36 <= began <= 48 and unlearner.history[-1]["step"] == 58
    assert "the budget of 57 seconds is used up" in str(unlearner.stop_reason)
    assert unlearner.outcome == "reached" and abs(unlearner.history[-1]["ua"] - 50) <= 100 / 32


# ---- What goes wrong ----


def test_a_recovery_that_moves_the_model_away_is_undone_and_said(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, "recovery_learning_rate": 3.0})
    unlearner.train()
    assert "recovery was undone, because it moved the model away from the original" in str(unlearner.stop_reason)
    assert abs(unlearner.history[-1]["ua"] - 50) <= 100 / 32 and unlearner.outcome == "reached"


def test_a_recovery_that_lowers_the_accuracy_on_unseen_examples_is_undone_and_said(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """By more than its standard error, although the answers on surrogates are nearer to the original's."""
    unlearner = make_unlearner(memorised_vit, noisy, eval_dataset=unseen, **RUN)
    measure = unlearner.measure_round

    def as_if_lost() -> dict[str, float]:
        metrics = measure()
        lost = unlearner.recovering and unlearner.run_state.recoveries == 0
        return {**metrics, "eval_unseen_accuracy": metrics["eval_unseen_accuracy"] - 0.3} if lost else metrics

    unlearner.measure_round = as_if_lost  # type: ignore[method-assign]
    unlearner.train()
    assert re.search(
        r"recovery was undone, because the accuracy on unseen examples fell from 0\.\d+ to 0\.\d+",
        str(unlearner.stop_reason),
    )


def test_answers_of_the_rewound_model_that_are_not_finite_end_the_run_before_recovery(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, **RUN)
    answer = unlearner.recovery.answer
    monkeypatch.setattr(unlearner.recovery, "answer", lambda *arguments: answer(*arguments) * float("nan"))
    unlearner.train()
    assert "there was no recovery, because the rewound model answers with values" in str(unlearner.stop_reason)
    assert not any("recovery" in point for point in unlearner.history)
    assert all(torch.isfinite(value).all() for value in memorised_vit.parameters())


def test_a_data_set_with_an_attribute_of_the_name_examples_is_sampled_whole(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """The wrapper that numbers examples has one too."""
    noisy = noisy.part(0, 32)
    noisy.examples = [1, 2, 3]  # type: ignore[attr-defined]
    unlearner = make_unlearner(memorised_vit, noisy, **RUN)
    places = torch.cat([batch[INDEX] for batch in unlearner.get_train_dataloader()])
    assert sorted(places.tolist()) == list(range(32))
    plain = make_unlearner(memorised_vit, noisy, **{**RUN, "recovery_steps": 0})
    assert sum(len(batch["labels"]) for batch in plain.get_train_dataloader()) == 32


def test_weights_that_become_infinite_in_recovery_are_undone(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, **RUN)

    def spoil(step: int) -> None:
        if unlearner.recovering and unlearner.state.global_step == unlearner.run_state.phase_began + 12:
            with torch.no_grad():
                next(memorised_vit.parameters()).fill_(float("inf"))

    unlearner.callback_handler.callbacks.insert(0, Watch(spoil))
    unlearner.train()
    assert "recovery was undone, because" in str(unlearner.stop_reason) and "not finite" in str(unlearner.stop_reason)
    assert all(torch.isfinite(value).all() for value in memorised_vit.parameters())
    assert abs(unlearner.history[-1]["ua"] - 50) <= 100 / 32


# ---- What is said of it ----


@pytest.mark.parametrize(("own", "name"), [(False, "shifted images"), (True, "custom surrogates")])
def test_the_record_says_which_surrogates_and_whether_only_the_forget_set_was_used(
    own: bool, name: str, make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, tmp_path: Path
) -> None:
    """The name of surrogates of the user's may say anything, and is not published."""
    surrogates = ChangedImages(lambda pixels: pixels + 0.1) if own else None
    if surrogates is not None:
        surrogates.name, surrogates.forget_only = "Ada's holiday pictures", False  # type: ignore[misc]
    unlearner = make_unlearner(memorised_vit, noisy, surrogates=surrogates, **RUN)
    unlearner.train()
    unlearner.save_model()
    record = read_record(tmp_path / "out")
    assert record["recovery"] == {"surrogates": name, "forget_only": not own, "steps": STEPS, "recoveries": 1}
    assert record["arguments"]["recovery_start"] == "rewound" and record["history"][-1]["recovery"] == STEPS
    contents = run_contents(tmp_path / "out", "ada/forgotten")
    said = f"Recovery: {STEPS} steps on {name}, " + ("for which other data" if own else "made from the forget set and")
    page = render_report(gather_report(tmp_path / "out"))
    assert said in contents.card.text and f"{STEPS} steps on {name}" in page
    assert "Ada" not in contents.card.text + page + (tmp_path / "out" / "unlearning.json").read_text()


def test_a_run_without_recovery_records_none(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, tmp_path: Path
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, **{**RUN, "recovery_steps": 0})
    unlearner.train()
    unlearner.save_model()
    assert read_record(tmp_path / "out")["recovery"] is None
    assert "Recovery" not in run_contents(tmp_path / "out", "ada/forgotten").card.text
