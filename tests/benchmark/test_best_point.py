"""The compared point of a run has the best validation accuracy of those at the target; passes are counted."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from helpers import Examples, build_model, build_unlearner
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from hf_invwnn.benchmark.best_point import BestPoint
from hf_invwnn.benchmark.passes import Passes, counted_passes


def measure(best: BestPoint, model: nn.Module, step: int, ua: float, accuracy: float) -> bool:
    """Two evaluations, as the Trainer announces them; whether the run is to end."""
    control, state = TrainerControl(), TrainerState(global_step=step)
    args = TrainingArguments("unused")
    for metrics in ({"eval_forget_accuracy": 1 - ua / 100}, {"eval_validation_accuracy": accuracy}):
        best.on_evaluate(args, state, control, metrics=metrics, model=model)
    return control.should_training_stop


def test_the_first_crossing_is_not_kept_if_a_later_point_is_better() -> None:
    model = nn.Linear(1, 1, bias=False)
    best = BestPoint(50.0, 0.5, "validation")
    best.begin_run(Passes())
    points = [(10, 0.9), (49.6, 0.3), (80, 0.2), (60, 0.7), (40, 0.95), (70, 0.6)]
    for step, (ua, accuracy) in enumerate(points):
        nn.init.constant_(model.weight, step)
        assert not measure(best, model, step, ua, accuracy)
    assert best.accuracy == 0.7 and best.cost["steps"] == 3 and best.highest_ua == 80
    best.restore(model)
    assert model.weight.item() == 3


def test_a_run_that_goes_on_ends_after_points_without_a_better_one() -> None:
    model = nn.Linear(1, 1)
    best = BestPoint(50.0, 0.5, "validation")
    best.begin_run(Passes(), patience=2)
    assert not measure(best, model, 0, 60, 0.5)
    assert not measure(best, model, 1, 60, 0.4)
    assert not measure(best, model, 2, 30, 0.4)  # not at the target, so it does not count
    assert not measure(best, model, 3, 60, 0.6)
    assert not measure(best, model, 4, 60, 0.6)
    assert measure(best, model, 5, 60, 0.5)


def test_without_a_point_at_the_target_there_is_none() -> None:
    best = BestPoint(50.0, 0.5, "validation")
    measure(best, nn.Linear(1, 1), 0, 49.4, 0.9)
    assert not best.is_reached and best.cost == {}


def test_passes_of_a_run_are_those_of_its_steps_and_measurements(digits: Examples, tmp_path: Path) -> None:
    """Two rounds of 3 intervals of 2 batches of 8, three measurements of 16 examples and of 32 that do not count."""
    best = BestPoint(0.0, 0.5, "unseen", {"unseen": 32})
    model = build_model("vit")
    with counted_passes(model) as passes:
        best.begin_run(passes)
        unlearner = build_unlearner(model, digits.part(0, 16), eval_dataset=digits.part(900, 932), callbacks=[best],
                                    output_dir=tmp_path, num_rewinds=2)  # fmt: skip
        before = passes.forward
        unlearner.train()
    assert passes.backward == 2 * 3 * 2 * 8
    assert passes.forward - before - passes.backward == 3 * 16


def test_copies_of_a_model_count_for_the_same_and_nothing_counts_afterwards(digits: Examples) -> None:
    model = build_model("vit")
    pixels = digits.columns["pixel_values"][:5]
    with counted_passes(model) as passes:
        teacher = copy.deepcopy(model)
        with torch.no_grad():
            teacher(pixel_values=pixels)
        model(pixel_values=pixels, labels=digits.columns["labels"][:5]).loss.backward()
        assert (passes.forward, passes.backward) == (10, 5)
    model(pixel_values=pixels)
    assert (passes.forward, passes.backward) == (10, 5)
