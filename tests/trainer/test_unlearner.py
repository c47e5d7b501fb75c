"""`InvWNNUnlearner.train()` is algorithm 1 of the paper, and touches nothing else."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    SNAPSHOTS,
    ConstantPredictor,
    Examples,
    RaiseAt,
    build_model,
    build_predictor,
    copied,
    differing,
    without_seconds,
)
from torch import nn
from torch.testing import assert_close
from transformers import TrainerCallback

from hf_invwnn import InvWNNModel, InvWNNUnlearner, LinearPredictor, UATarget
from hf_invwnn.predictor import parameter_kind


Make = Callable[..., InvWNNUnlearner]


class Trace(TrainerCallback):
    """Calls a function after every step, when the unlearning callback has had its turn."""

    def __init__(self, look: Callable[[Any, Any], None]) -> None:
        self.look = look

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.look(state.global_step, kwargs)


# ---- Algorithm 1 ----


def algorithm_1(
    model: nn.Module, batches: list[dict[str, torch.Tensor]], predictor: Any, options: dict[str, Any], rate: float
) -> list[dict[str, torch.Tensor]]:
    """The paper's loop in plain torch with SGD, no Trainer; an interval is a pass over `batches`, or n of them."""
    by_steps = options.get("snapshot_strategy") == "steps"
    interval = options.get("snapshot_steps", 1) if by_steps else len(batches)
    position = 0
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    after_each_rewind = []
    for _ in range(2):
        snapshots: dict[str, list[torch.Tensor]] = {name: [] for name, _ in model.named_parameters()}
        for index in range(options.get("warmup_intervals", 0) + SNAPSHOTS):
            if index > 0:
                for _ in range(interval):
                    model.train()
                    optimizer.zero_grad()
                    model(**batches[position % len(batches)]).loss.backward()
                    optimizer.step()
                    position += 1
            if index >= options.get("warmup_intervals", 0):
                for name, parameter in model.named_parameters():
                    snapshots[name].append(parameter.detach().clone())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                trajectory = torch.stack(snapshots[name])
                assert len(trajectory) == SNAPSHOTS
                residual = predictor.predict_residual(trajectory, parameter_kind(parameter.shape))
                parameter.copy_(trajectory[0] + options["residual_scale"] * residual)
        after_each_rewind.append(copied(model))
    return after_each_rewind


@pytest.mark.parametrize(
    "options",
    [
        {"residual_scale": 0.25},
        {"residual_scale": 1.0, "warmup_intervals": 1},
        {"residual_scale": 0.25, "snapshot_strategy": "steps", "snapshot_steps": 1},
        {"residual_scale": 0.25, "snapshot_strategy": "steps", "snapshot_steps": 3, "warmup_intervals": 2},
    ],
    ids=["epoch", "epoch-warmup", "steps", "steps-warmup"],
)
@pytest.mark.parametrize("kind", ["linear", "invwnn"])
def test_train_is_algorithm_1(
    make_unlearner: Make, memorised: dict[str, torch.Tensor], noisy: Examples, options: dict, kind: str
) -> None:
    """
    Two rewinds against a loop written from the paper, bitwise: when intervals begin and end, what is recorded, where
    the residual goes, where the next round starts. Four batches in a fixed order, so epochs and steps differ.
    """
    predictor = LinearPredictor() if kind == "linear" else build_predictor(trajectory_scale="weight")
    by_hand, by_trainer = build_model("vit"), build_model("vit")
    for model in (by_hand, by_trainer):
        model.load_state_dict(memorised)
    batches = [noisy.part(start, start + 8).columns for start in range(0, 32, 8)]
    expected = algorithm_1(by_hand, batches, predictor, options, rate=0.05)
    seen = []
    trainer = make_unlearner(
        by_trainer,
        noisy,
        predictor=predictor,
        optim="sgd",
        learning_rate=0.05,
        train_sampling_strategy="sequential",
        **options,
    )
    trainer.log_point = lambda point: seen.append(copied(by_trainer))
    trainer.train()
    assert len(seen) == 3, "the start and two rewinds"
    assert differing(copied(by_trainer), seen[2]) == []
    for found, wanted in zip(seen[1:], expected, strict=True):
        for name, value in wanted.items():
            assert torch.equal(found[name], value), name
    distance = max((expected[1][name] - memorised[name]).abs().max().item() for name in memorised)
    assert distance > 1e-3, "if nothing moves, nothing is compared"
    assert [point["round"] for point in trainer.history] == [0, 1, 2]
    assert trainer.stop_reason == "all 2 rounds are done"


# The floor of runs with unseen examples, whose distance depends on how the processor trained the memorised model.
NO_FLOOR: dict[str, Any] = {"max_unseen_loss_rise": 100.0, "max_unseen_accuracy_drop": 1.0}


def test_the_history_measures_the_weights_it_belongs_to(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    options = {**NO_FLOOR, "learning_rate": 3e-3, "residual_scale": 2.0}
    trainer = make_unlearner(memorised_vit, noisy, eval_dataset=unseen, **options)
    trainer.train()
    last = trainer.history[-1]
    with torch.no_grad():
        for name, data in (("forget", noisy), ("unseen", unseen)):
            output = memorised_vit.eval()(**data.columns)
            accuracy = (output.logits.argmax(-1) == data.columns["labels"]).float().mean().item()
            assert last[f"eval_{name}_loss"] == pytest.approx(output.loss.item(), rel=1e-5)
            assert last[f"eval_{name}_accuracy"] == pytest.approx(accuracy)
    assert last["ua"] == pytest.approx(100 * (1 - last["eval_forget_accuracy"]))
    assert trainer.history[0]["ua"] == 0.0, "the model had memorised what it is to forget"
    assert [point["step"] for point in trainer.history] == [0, 12, 24]


# ---- What moves and what does not ----


def test_every_tracked_parameter_moves(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    before = copied(memorised_vit)
    make_unlearner(memorised_vit, noisy, num_rewinds=1).train()
    assert set(differing(copied(memorised_vit), before)) == {name for name, _ in memorised_vit.named_parameters()}


def test_parameters_that_are_not_tracked_are_bitwise_unchanged(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """Neither by the rewind nor by the fine-tuning before it, weight decay included; their flag comes back."""
    memorised_vit.vit.embeddings.requires_grad_(False)
    flags = {name: parameter.requires_grad for name, parameter in memorised_vit.named_parameters()}
    before = copied(memorised_vit)
    during: list[dict[str, torch.Tensor]] = []
    trainer = make_unlearner(
        memorised_vit,
        noisy,
        num_rewinds=1,
        tracked_parameters=r"mlp|embeddings",
        weight_decay=0.1,
        callbacks=[Trace(lambda step, _: during.append(copied(memorised_vit)))],
    )
    trainer.train()
    tracked = {name for name in before if "mlp" in name}
    assert tracked
    assert set(differing(copied(memorised_vit), before)) == tracked
    assert set(differing(during[0], before)) == tracked
    assert {name: parameter.requires_grad for name, parameter in memorised_vit.named_parameters()} == flags


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm_buffers_follow_the_forget_set_only_if_asked_to(
    make_unlearner: Make, resnet: nn.Module, digits: Examples, freeze: bool
) -> None:
    buffers = {name for name, _ in resnet.named_buffers()}
    assert any(name.endswith("running_var") for name in buffers)
    before = copied(resnet)
    make_unlearner(resnet, digits.part(0, 32), num_rewinds=1, freeze_normalization=freeze).train()
    changed = set(differing(copied(resnet), before))
    assert changed == {name for name, _ in resnet.named_parameters()} | (set() if freeze else buffers)


def test_running_statistics_that_may_change_are_kept_with_the_last_good_weights(
    make_unlearner: Make, resnet: nn.Module, digits: Examples
) -> None:
    """Left in the midst of the first recording, where they have moved already."""
    before = copied(resnet)
    trainer = make_unlearner(
        resnet, digits.part(0, 32), freeze_normalization=False, callbacks=[RaiseAt(6, RuntimeError("stop"))]
    )
    with pytest.raises(RuntimeError, match="stop"):
        trainer.train()
    assert differing(copied(resnet), before) == []


def test_the_log_keeps_the_lines_of_the_trainer(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """The training loss of every epoch is logged, also of those in which a rewind is evaluated and logged."""
    trainer = make_unlearner(memorised_vit, noisy, logging_strategy="epoch")
    trainer.train()
    epochs = [line["epoch"] for line in trainer.state.log_history if "loss" in line]
    assert epochs == [1, 2, 3, 4, 5, 6]


def test_the_model_keeps_no_hook_of_ours(make_unlearner: Make, resnet: nn.Module, digits: Examples) -> None:
    layers = [layer for layer in resnet.modules() if isinstance(layer, nn.BatchNorm2d)]
    make_unlearner(resnet, digits.part(0, 16), num_rewinds=1).train()
    assert layers
    assert not any(layer._forward_pre_hooks for layer in layers)
    resnet.train()
    mean = layers[0].running_mean.clone()
    resnet(**digits.part(0, 16).columns)
    assert not torch.equal(layers[0].running_mean, mean), "the statistics follow ordinary training again"


def test_a_predictor_that_sees_no_movement_leaves_the_model_where_it_was(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """theta^t + 0 is theta^t, and not where the fine-tuning had gone."""
    before = copied(memorised_vit)
    make_unlearner(memorised_vit, noisy, predictor=LinearPredictor(0.0)).train()
    assert differing(copied(memorised_vit), before) == []


def test_forgetting_happens(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, digits: Examples) -> None:
    """The point of it all, on a small scale: UA rises from 0 while most of what else was learned stays."""
    trainer = make_unlearner(
        memorised_vit,
        noisy,
        eval_dataset={"retain": digits.part(32, 192)},
        num_rewinds=10,
        learning_rate=3e-3,
        residual_scale=0.5,
        per_device_train_batch_size=32,
        target_ua=50.0,
    )
    trainer.train()
    first, last = trainer.history[0], trainer.history[-1]
    assert (first["ua"], first["eval_retain_accuracy"]) == (0.0, 1.0)
    assert last["ua"] > 45
    # Selective: far more is kept of what was not to be forgotten, however well this machine's model was trained.
    assert last["eval_retain_accuracy"] > last["eval_forget_accuracy"] + 0.2


# ---- Trainer's own business ----


@pytest.mark.parametrize("architecture", ["vit", "convnext", "pvt_v2", "resnet", "bert"])
def test_one_example_times_eight_steps_is_eight_examples_at_once(
    make_unlearner: Make, data_for: Callable[[str], Examples], architecture: str
) -> None:
    """
    Gradient accumulation must not change the step, whatever the model's forward makes of `num_items_in_batch`. With
    plain SGD, which shows a gradient that is eight times too long; without dropout, which draws by the batch.
    """
    options = (
        {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if architecture in ("bert", "pvt_v2") else {}
    )
    forget = data_for(architecture).part(0, 32)
    start = copied(build_model(architecture, **options))
    ends = []
    for batch_size, accumulation in ((8, 1), (1, 8)):
        model = build_model(architecture, **options)
        make_unlearner(
            model,
            forget,
            num_rewinds=1,
            optim="sgd",
            learning_rate=0.05,
            residual_scale=1.0,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
        ).train()
        ends.append(copied(model))
    names = [name for name, _ in model.named_parameters()]
    furthest = max((ends[0][name] - start[name]).abs().max().item() for name in names)
    assert furthest > 1e-2
    assert_close(ends[1], ends[0], rtol=1e-4, atol=2e-6)


def test_the_same_seed_gives_the_same_run_bitwise(make_unlearner: Make, texts: Examples, unseen: Examples) -> None:
    """With shuffling, Adam and dropout; and another seed gives another."""
    ends, histories = [], []
    for seed in (3, 3, 4):
        model = build_model("bert")
        trainer = make_unlearner(model, texts.part(0, 32), eval_dataset=texts.part(900, 1000), seed=seed)
        trainer.train()
        ends.append(copied(model))
        histories.append(without_seconds(trainer.history))
    assert differing(ends[0], ends[1]) == []
    assert histories[0] == histories[1]
    assert differing(ends[0], ends[2]) != []


def test_train_can_be_called_again(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    """A second call goes on from where the model is, and the history, steps and changed settings cover both."""
    trainer = make_unlearner(memorised_vit, noisy, num_rewinds=1, learning_rate=3e-3, residual_scale=1.0)
    trainer.train()
    first, reached = trainer.history, copied(memorised_vit)
    trainer.args.learning_rate = 2e-3
    trainer.train()
    assert trainer.history[:2] == first
    assert [point["round"] for point in trainer.history] == [0, 1, 2]
    assert [point["step"] for point in trainer.history] == [0, 12, 24]
    assert trainer.run_state.changes == [{"step": 12, "argument": "learning_rate", "from": 3e-3, "to": 2e-3}]
    assert differing(copied(memorised_vit), reached) != []
    trainer.save_model()
    record = json.loads((Path(str(trainer.args.output_dir)) / "unlearning.json").read_text())
    assert record["metrics"]["original"]["UA"] == first[0]["ua"]
    assert record["cost"]["forget_steps"] == 24
    assert record["cost"]["rounds"] == 2


def test_a_second_train_uses_the_learning_rate_it_then_finds(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    rates: list[float] = []
    trainer = make_unlearner(memorised_vit, noisy, num_rewinds=1, learning_rate=1e-3)
    trainer.add_callback(Trace(lambda step, kwargs: rates.append(kwargs["optimizer"].param_groups[0]["lr"])))
    trainer.train()
    trainer.args.learning_rate = 2e-4
    trainer.train()
    assert rates == [1e-3] * 12 + [2e-4] * 12


@pytest.mark.parametrize("reset", [True, False])
def test_the_optimizer_starts_fresh_after_a_rewind_only_if_asked_to(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, reset: bool
) -> None:
    """Adam counts its steps, which shows how old its state is at each of ours."""
    ages: list[float] = []

    def look(step: int, kwargs: dict[str, Any]) -> None:
        state = kwargs["optimizer"].state[memorised_vit.classifier.weight]
        ages.append(float(state["step"]) if state else 0.0)

    trainer = make_unlearner(memorised_vit, noisy, reset_optimizer=reset, per_device_train_batch_size=32)
    trainer.add_callback(Trace(look))
    trainer.train()
    steps = SNAPSHOTS - 1
    assert len(ages) == 2 * steps
    if reset:
        assert ages == [1, 2, 0, 1, 2, ages[-1]]
    else:
        assert ages == [1, 2, 3, 4, 5, 6]


def test_snapshots_beside_the_model_or_on_the_cpu_are_the_same(
    make_unlearner: Make, memorised: dict[str, torch.Tensor], noisy: Examples
) -> None:
    ends = []
    for device in ("cpu", "model"):
        model = build_model("vit")
        model.load_state_dict(memorised)
        make_unlearner(model, noisy, trajectory_storage=device).train()
        ends.append(copied(model))
    assert differing(*ends) == []


def test_half_precision_keeps_the_ends_exact(
    make_unlearner: Make, memorised: dict[str, torch.Tensor], noisy: Examples
) -> None:
    """The task vector looks at nothing else, so its rewind is bitwise the same."""
    ends = []
    for dtype in ("float32", "bfloat16"):
        model = build_model("vit")
        model.load_state_dict(memorised)
        make_unlearner(model, noisy, num_rewinds=1, learning_rate=1e-3, trajectory_dtype=dtype).train()
        ends.append(copied(model))
    assert differing(*ends) == []


def test_an_endless_forget_set_works_by_steps(make_unlearner: Make, vit: nn.Module, digits: Examples) -> None:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self) -> Any:
            while True:
                yield from (digits[index] for index in range(16))

    before = copied(vit)
    trainer = make_unlearner(vit, Stream(), snapshot_strategy="steps", num_rewinds=1)
    trainer.train()
    assert trainer.run_state.rounds == 1
    assert set(differing(copied(vit), before)) == {name for name, _ in vit.named_parameters()}


def test_a_predictor_from_a_folder(
    make_unlearner: Make, tmp_path: Path, memorised: dict[str, torch.Tensor], noisy: Examples
) -> None:
    """A path gives bitwise what the predictor in it gives, and the predictor does not learn along."""
    predictor = build_predictor(trajectory_scale="weight")
    predictor.save_pretrained(tmp_path / "predictor")
    ends = []
    for given in (predictor, str(tmp_path / "predictor"), tmp_path / "predictor"):
        model = build_model("vit")
        model.load_state_dict(memorised)
        trainer = make_unlearner(model, noisy, predictor=given)
        trainer.train()
        ends.append(copied(model))
        assert isinstance(trainer.predictor, InvWNNModel)
    assert differing(ends[0], ends[1]) == differing(ends[0], ends[2]) == []


# ---- Stopping ----

# A step so large that the first rewind goes far beyond every goal asked for below.
OVERSHOOT: dict[str, Any] = {"residual_scale": 4.0, "learning_rate": 3e-3}


def ua(model: nn.Module, data: Examples) -> float:
    with torch.no_grad():
        classes = model.eval()(pixel_values=data.columns["pixel_values"]).logits.argmax(-1)
    return 100 * (classes != data.columns["labels"]).double().mean().item()


def accuracy(model: nn.Module, data: Examples) -> float:
    return 1 - ua(model, data) / 100


def test_without_a_rule_the_rewind_overshoots(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """What the tests of the search below stand on."""
    before = accuracy(memorised_vit, unseen)
    make_unlearner(memorised_vit, noisy, num_rewinds=1, **OVERSHOOT).train()
    assert ua(memorised_vit, noisy) > 80
    assert accuracy(memorised_vit, unseen) < before - 0.05


@pytest.mark.parametrize("target", [10.0, 35.0, 70.0])
def test_an_overshot_ua_target_is_met_to_one_example(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, target: float
) -> None:
    trainer = make_unlearner(memorised_vit, noisy, target_ua=target, **OVERSHOOT)
    trainer.train()
    reached = ua(memorised_vit, noisy)
    assert abs(reached - target) <= 100 / len(noisy)
    assert trainer.history[-1]["ua"] == pytest.approx(reached)
    assert 0 < trainer.history[-1]["fraction"] < 1
    assert trainer.history[-1]["round"] == 1
    assert trainer.stop_reason.startswith(f"target_ua = {target:g} is met by round 1, ")


def test_an_overshot_ua_target_is_met_to_half_a_point(
    make_unlearner: Make, digits: Examples, memorised_vit: nn.Module
) -> None:
    """On 400 examples, where one is a quarter of a point."""
    forget = digits.part(0, 400)
    start = ua(memorised_vit, forget)
    target = start + 7.3
    trainer = make_unlearner(
        memorised_vit, forget, target_ua=target, per_device_train_batch_size=100, snapshot_strategy="steps",
        residual_scale=4.0, learning_rate=1e-2,
    )  # fmt: skip
    trainer.train()
    assert trainer.history[-1]["fraction"] < 1
    assert abs(ua(memorised_vit, forget) - target) <= 0.5


def test_the_search_only_evaluates(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    """The point found lies on the segment between the two measured points, and no step was taken to get there."""
    start = copied(memorised_vit)
    full = build_model("vit")
    full.load_state_dict(start)
    make_unlearner(full, noisy, num_rewinds=1, **OVERSHOOT).train()
    trainer = make_unlearner(memorised_vit, noisy, target_ua=35.0, **OVERSHOOT)
    trainer.train()
    fraction = trainer.history[-1]["fraction"]
    assert trainer.state.global_step == 12
    expected = {name: torch.lerp(start[name], end, fraction) for name, end in copied(full).items()}
    assert_close(copied(memorised_vit), expected, rtol=0, atol=1e-6)


def test_stop_at_unseen_loss_ends_at_the_loss_that_the_original_model_has_on_unseen_examples(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    with torch.no_grad():
        before = memorised_vit.eval()(**unseen.columns).loss.item()
    options = {**NO_FLOOR, **OVERSHOOT, "stop_at_unseen_loss": True}
    trainer = make_unlearner(memorised_vit, noisy, eval_dataset=unseen, **options)
    trainer.train()
    with torch.no_grad():
        forget = memorised_vit.eval()(**noisy.columns).loss.item()
    assert trainer.history[0]["eval_forget_loss"] < 0.1 * before
    assert forget == pytest.approx(before, rel=0.01)
    assert trainer.stop_reason.startswith("stop_at_unseen_loss is met by round 1")
    assert trainer.outcome == "reached"


def test_min_utility_is_never_undercut(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """Ends at the last point that keeps the floor, and as near to it as the metric's steps allow."""
    floor = accuracy(memorised_vit, unseen) - 0.05
    bounds = {"max_unseen_loss_rise": 100.0, "max_unseen_accuracy_drop": 1.0}
    trainer = make_unlearner(memorised_vit, noisy, eval_dataset=unseen, min_utility=floor, **bounds, **OVERSHOOT)
    trainer.train()
    reached = accuracy(memorised_vit, unseen)
    assert floor - 1e-9 <= reached <= floor + 0.005 + 1e-9
    assert trainer.history[-1]["fraction"] < 1
    assert "min_utility" in trainer.stop_reason


def test_a_floor_that_no_point_of_a_rewind_keeps_ends_with_the_weights_before_it(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    before = copied(memorised_vit)
    trainer = make_unlearner(memorised_vit, noisy, min_utility=0.5, utility_metric="eval_forget_accuracy")
    trainer.measure = lambda splits=None: {
        "eval_forget_loss": 0.0,
        "eval_forget_accuracy": 0.9 if differing(copied(memorised_vit), before) == [] else 0.1,
    }
    trainer.train()
    assert differing(copied(memorised_vit), before) == []
    assert trainer.history[-1]["fraction"] == 0
    assert trainer.stop_reason.startswith("no point of round 1 satisfies min_utility = 0.5")


def test_min_utility_takes_any_metric_of_any_set(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """A metric with an underscore, from the second of two sets, computed by the user's own function."""

    def measured(prediction: Any) -> dict[str, float]:
        share = float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())
        return {"accuracy": share, "top_score": share}

    sets = {"unseen": unseen, "my_other_set": unseen.part(0, 100)}
    floor = accuracy(memorised_vit, sets["my_other_set"]) - 0.05
    trainer = make_unlearner(
        memorised_vit,
        noisy,
        eval_dataset=sets,
        min_utility=floor,
        utility_metric="eval_my_other_set_accuracy",
        compute_metrics=measured,
        **OVERSHOOT,
    )
    trainer.train()
    assert accuracy(memorised_vit, sets["my_other_set"]) >= floor - 1e-9
    assert trainer.history[-1]["fraction"] < 1


def test_of_two_rules_the_earlier_point_counts(
    make_unlearner: Make, memorised: dict[str, torch.Tensor], noisy: Examples, unseen: Examples
) -> None:
    fractions = {}
    for name, rules in (
        ("low", {"target_ua": 10.0}),
        ("high", {"target_ua": 70.0}),
        ("both", {"target_ua": 10.0, "stopping_rules": [UATarget(70.0, tolerance=100 / 32)]}),
    ):
        model = build_model("vit")
        model.load_state_dict(memorised)
        trainer = make_unlearner(model, noisy, **rules, **OVERSHOOT)
        trainer.train()
        fractions[name] = trainer.history[-1]["fraction"]
        if name == "both":
            assert trainer.stop_reason.startswith("target_ua = 10 is met")
            assert abs(ua(model, noisy) - 10) <= 100 / 32
    assert fractions["low"] == fractions["both"] < fractions["high"]


def test_a_rule_that_is_met_exactly_by_a_rewind_needs_no_search(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    trainer = make_unlearner(memorised_vit, noisy, target_ua=100.0, num_rewinds=3, learning_rate=1e-3)
    trainer.predictor = ConstantPredictor(0.0)
    measured = iter([0.0, 40.0, 100.0])
    trainer.measure = lambda splits=None: {"eval_forget_accuracy": 1 - next(measured) / 100}
    trainer.train()
    assert trainer.history[-1]["fraction"] == 1.0
    assert trainer.stop_reason == "target_ua = 100 is met by round 2"


@pytest.mark.parametrize("architecture", ["vit", "resnet"])
def test_a_rule_that_holds_at_the_start_leaves_the_model_bitwise_unchanged(
    make_unlearner: Make, digits: Examples, architecture: str
) -> None:
    """Running statistics included."""
    model = build_model(architecture)
    before = copied(model)
    trainer = make_unlearner(model, digits.part(0, 32), target_ua=0.0)
    trainer.train()
    assert differing(copied(model), before) == []
    assert len(trainer.history) == 1
    assert trainer.stop_reason == "target_ua = 0 holds before the first round; the model is unchanged"


def test_the_budget_of_steps_is_kept(make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples) -> None:
    """12 steps make a rewind: 35 reach for two, and the third is not begun."""
    trainer = make_unlearner(memorised_vit, noisy, num_rewinds=5, max_forget_steps=35)
    trainer.train()
    assert trainer.run_state.rounds == 2
    assert trainer.state.global_step == 24
    assert "budget of 35 steps" in trainer.stop_reason


def test_a_budget_below_one_rewind_leaves_the_model_unchanged(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    before = copied(memorised_vit)
    trainer = make_unlearner(memorised_vit, noisy, max_forget_steps=11)
    trainer.train()
    assert differing(copied(memorised_vit), before) == []
    assert "budget" in trainer.stop_reason


def test_the_budget_of_seconds_ends_with_the_last_good_weights(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of one second a step, looked at after every interval of four: over in the second recording."""
    trainer = make_unlearner(memorised_vit, noisy, num_rewinds=5, max_seconds=17.0, residual_scale=1.0)
    after_first: list[dict[str, torch.Tensor]] = []
    trainer.add_callback(Trace(lambda step, _: after_first.append(copied(memorised_vit)) if step == 12 else None))
    monkeypatch.setattr("hf_invwnn.trainer.state.time.monotonic", lambda: float(trainer.state.global_step))
    trainer.train()
    assert trainer.run_state.rounds == 1
    assert trainer.state.global_step == 20
    assert differing(copied(memorised_vit), after_first[0]) == []
    assert trainer.stop_reason == "the budget of 17 seconds is used up"


def test_someone_elses_stop_ends_with_the_last_good_weights(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """A callback of the user's that ends the training in the midst of the second recording."""

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 15

    after_first: list[dict[str, torch.Tensor]] = []
    trainer = make_unlearner(memorised_vit, noisy, num_rewinds=5, callbacks=[Stop()])
    trainer.add_callback(Trace(lambda step, _: after_first.append(copied(memorised_vit)) if step == 12 else None))
    trainer.train()
    assert trainer.state.global_step == 15
    assert differing(copied(memorised_vit), after_first[0]) == []
    assert trainer.stop_reason == "another callback ended it"


# ---- Rewinds that fail ----


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e38])
def test_a_rewind_that_cannot_be_used_is_undone(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, value: float
) -> None:
    """NaN and infinity as weights, and finite weights (1e38) whose loss is not: the first rewind's weights remain."""
    count = len(list(memorised_vit.parameters()))
    predictor = ConstantPredictor(value, still_calls=count)
    seen: list[dict[str, torch.Tensor]] = []
    trainer = make_unlearner(memorised_vit, noisy, num_rewinds=4, predictor=predictor, residual_scale=1.0)
    trainer.log_point = lambda point: seen.append(copied(memorised_vit))
    trainer.train()
    assert trainer.run_state.rounds == 1
    assert [point["round"] for point in trainer.history] == [0, 1]
    assert differing(copied(memorised_vit), seen[-1]) == []
    assert all(parameter.isfinite().all() for parameter in memorised_vit.parameters())
    what = "`eval_forget_loss` became" if value == 1e38 else "is not finite"
    assert what in trainer.stop_reason
    assert trainer.stop_reason.startswith("round 2 was undone, ")


def test_a_fine_tuning_that_diverges_is_undone(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    before = copied(memorised_vit)
    trainer = make_unlearner(memorised_vit, noisy, optim="sgd", learning_rate=1e30)
    trainer.train()
    assert differing(copied(memorised_vit), before) == []
    assert trainer.stop_reason.startswith("round 1 was undone, ")


def test_a_model_that_is_not_finite_to_begin_with_is_refused(
    make_unlearner: Make, vit: nn.Module, digits: Examples
) -> None:
    with torch.no_grad():
        vit.classifier.bias[0] = math.nan
    with pytest.raises(ValueError, match=r"`model` holds weights that are not finite: classifier\.bias"):
        make_unlearner(vit, digits.part(0, 16)).train()


@pytest.mark.parametrize("step", [3, 15])
def test_ctrl_c_leaves_and_saves_the_last_good_weights(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, tmp_path: Path, step: int
) -> None:
    """In the first and in the second recording; the interruption itself goes on its way."""
    good = {0: copied(memorised_vit)}
    trainer = make_unlearner(memorised_vit, noisy, callbacks=[RaiseAt(step, KeyboardInterrupt())])
    trainer.log_point = lambda point: good.update({int(point["round"]): copied(memorised_vit)})
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    expected = good[step // 12]
    assert differing(copied(memorised_vit), expected) == []
    saved = type(memorised_vit).from_pretrained(tmp_path / "out")
    assert differing(copied(saved), expected) == []
    assert all(parameter.requires_grad for parameter in memorised_vit.parameters())


def test_any_other_error_leaves_the_last_good_weights_too(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    before = copied(memorised_vit)
    trainer = make_unlearner(memorised_vit, noisy, callbacks=[RaiseAt(3, RuntimeError("out of memory"))])
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.train()
    assert differing(copied(memorised_vit), before) == []


def test_an_unlearner_that_is_no_longer_used_is_freed_at_once(
    make_unlearner: Make, vit: nn.Module, digits: Examples
) -> None:
    """
    Not at the next garbage collection: until then a model and a trajectory keep their memory, and a model wrapped for
    several processes may outlive the processes' connection, which then ends the program with an abort.
    """
    gc.disable()
    try:
        trainer = make_unlearner(vit, digits.part(0, 16))
        trainer.train()
        freed = weakref.ref(trainer)
        del trainer
        assert freed() is None
    finally:
        gc.enable()
