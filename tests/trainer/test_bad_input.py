"""
Bad input ends with an error that names the argument, what it got and what would do, and the model is unchanged.

Damaged checkpoints are in `test_resume.py`, values that are wrong by themselves also in `test_training_args.py`, wrong
indices in `scenarios/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from helpers import Examples, build_model, build_predictor, copied, differing, unchanged
from torch import nn

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UtilityFloor
from hf_invwnn.trainer.checks import check_output_dir
from hf_invwnn.trainer.labels import check_labels


Make = Callable[..., InvWNNUnlearner]


class Stream(torch.utils.data.IterableDataset):
    """Examples without a length."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __iter__(self) -> Any:
        return (self.examples[index] for index in range(len(self.examples)))


@pytest.fixture
def forget(digits: Examples) -> Examples:
    return digits.part(0, 16)


# ---- Arguments ----


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_snapshots": 1}, ["`num_snapshots`", "got 1", "at least 2"]),
        ({"num_snapshots": 0}, ["`num_snapshots`", "got 0", "at least 2"]),
        ({"num_rewinds": 0}, ["`num_rewinds`", "got 0", "at least 1"]),
        ({"residual_scale": 0.0}, ["`residual_scale`", "got 0.0", "(0, 10]"]),
        ({"residual_scale": 10.5}, ["`residual_scale`", "got 10.5", "(0, 10]"]),
        ({"residual_scale": -1.0}, ["`residual_scale`", "got -1.0", "(0, 10]"]),
        ({"target_ua": 101.0}, ["`target_ua`", "got 101.0", "0..100"]),
        ({"target_ua": -1.0}, ["`target_ua`", "got -1.0", "0..100"]),
        ({"tracked_parameters": "decoder"}, ["`tracked_parameters`", "got 'decoder'", "vit.embeddings.cls_token"]),
        ({"tracked_parameters": "("}, ["`tracked_parameters`", "got '('", "regular expression"]),
        ({"num_snapshots": 5, "predictor": build_predictor(4)}, ["`predictor`", "K = 4", "`num_snapshots=4`"]),
        ({"predictor": 3.0}, ["`predictor`", "PastWeightPredictor", "got float"]),
        ({"stop_at_unseen_loss": True}, ["`eval_dataset`", "'unseen'", "stop_at_unseen_loss", "['forget']"]),
        ({"min_utility": 0.5}, ["`eval_dataset`", "'unseen'", "min_utility = 0.5", "['forget']"]),
        (
            {"min_utility": 0.5, "utility_metric": "eval_my_set_accuracy"},
            ["`eval_dataset`", "'my_set'", "min_utility = 0.5 of eval_my_set_accuracy"],
        ),
        (
            {"stopping_rules": [UtilityFloor("eval_other_loss", 0.5, splits=("other",))]},
            ["`eval_dataset`", "'other'", "eval_other_loss"],
        ),
        ({"train_dataset": []}, ["`train_dataset`", "`forget_dataset`"]),
        ({"model_init": build_model}, ["`model_init`", "`model`"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_an_argument_that_cannot_work(
    make_unlearner: Make, vit: nn.Module, forget: Examples, arguments: dict[str, Any], words: list[str]
) -> None:
    with unchanged(vit), pytest.raises((ValueError, TypeError)) as refused:
        make_unlearner(vit, forget, **arguments)
    message = str(refused.value)
    assert [word for word in words if word not in message] == [], message


def test_arguments_of_the_plain_trainer(vit: nn.Module, forget: Examples, tmp_path: Path) -> None:
    from transformers import TrainingArguments

    with unchanged(vit), pytest.raises(TypeError, match="`args` must be UnlearningArguments, got TrainingArguments"):
        InvWNNUnlearner(vit, TrainingArguments(output_dir=str(tmp_path)), forget, predictor=LinearPredictor())


def test_nothing_trainable(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    vit.requires_grad_(False)
    with unchanged(vit), pytest.raises(ValueError, match="`model` has no parameter that requires grad; unfreeze"):
        make_unlearner(vit, forget)


def test_a_predictor_that_does_not_exist(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    with unchanged(vit), pytest.raises(ValueError, match=r"`predictor` .* 'no-such-folder/predictor'"):
        make_unlearner(vit, forget, predictor="no-such-folder/predictor")


# ---- Data ----


def test_an_empty_forget_set(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    with unchanged(vit), pytest.raises(ValueError, match="`forget_dataset` is empty"):
        make_unlearner(vit, forget.part(0, 0))
    with unchanged(vit), pytest.raises(ValueError, match="`forget_dataset` is empty"):
        make_unlearner(vit, Dataset.from_dict({"pixel_values": [], "labels": []}))


def test_no_forget_set(make_unlearner: Make, vit: nn.Module) -> None:
    with unchanged(vit), pytest.raises(ValueError, match="`forget_dataset` is None; pass the examples to forget"):
        make_unlearner(vit, None)


def test_an_unsized_forget_set_with_intervals_of_epochs(
    make_unlearner: Make, vit: nn.Module, forget: Examples
) -> None:
    with (
        unchanged(vit),
        pytest.raises(ValueError, match=r"`forget_dataset` has no length.*`snapshot_strategy='steps'`"),
    ):
        make_unlearner(vit, Stream(forget))


def test_an_unsized_forget_set_with_a_rule_on_it(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    """UA cannot be measured on a stream."""
    with unchanged(vit), pytest.raises(ValueError, match=r"target_ua = 5 needs .*`forget_eval_dataset`"):
        make_unlearner(vit, Stream(forget), snapshot_strategy="steps", target_ua=5.0)


def test_an_empty_evaluation_set(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    with unchanged(vit), pytest.raises(ValueError, match=re.escape("`eval_dataset['test']` is empty")):
        make_unlearner(vit, forget, eval_dataset={"unseen": forget, "test": forget.part(0, 0)})


def test_an_evaluation_set_that_takes_the_name_of_the_forget_set(
    make_unlearner: Make, vit: nn.Module, forget: Examples
) -> None:
    with (
        unchanged(vit),
        pytest.raises(ValueError, match=r"`eval_dataset` may not .*'forget'; .*`forget_eval_dataset`"),
    ):
        make_unlearner(vit, forget, eval_dataset={"forget": forget})


def test_a_metric_that_the_evaluation_does_not_give(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    """Only the first evaluation can tell; still nothing has been changed by then."""
    trainer = make_unlearner(vit, forget, eval_dataset=forget, min_utility=0.5, utility_metric="eval_unseen_f1")
    with unchanged(vit), pytest.raises(ValueError, match="`eval_unseen_f1`, but the evaluation returns only"):
        trainer.train()


@pytest.mark.parametrize("wrong", [10, 250, -1])
def test_a_label_outside_the_classes(make_unlearner: Make, vit: nn.Module, forget: Examples, wrong: int) -> None:
    """Of a torch dataset: -1 is none of the model's ten classes either."""
    labels = forget.columns["labels"].clone()
    labels[11] = wrong
    message = f"`forget_dataset` has the label {wrong} at index 11, but the model has the classes 0..9"
    with unchanged(vit), pytest.raises(ValueError, match=re.escape(message)):
        make_unlearner(vit, forget.relabelled(labels))


def test_a_label_outside_the_classes_in_an_evaluation_set(
    make_unlearner: Make, vit: nn.Module, forget: Examples
) -> None:
    """Which the first evaluation would otherwise end on, after the run has begun."""
    wrong = forget.relabelled(forget.columns["labels"] + 10)
    with unchanged(vit), pytest.raises(ValueError, match=re.escape("`eval_dataset['test']` has the label 1")):
        make_unlearner(vit, forget, eval_dataset={"test": wrong})
    with unchanged(vit), pytest.raises(ValueError, match=re.escape("`forget_eval_dataset` has the label 1")):
        make_unlearner(vit, forget, forget_eval_dataset=wrong)


def test_a_forget_set_that_is_dropped_whole(make_unlearner: Make, vit: nn.Module, forget: Examples) -> None:
    with (
        unchanged(vit),
        pytest.raises(ValueError, match=r"16 examples, less than a batch of 32.*`dataloader_drop_last`"),
    ):
        make_unlearner(vit, forget, per_device_train_batch_size=32, dataloader_drop_last=True)


@pytest.mark.parametrize("column", ["label", "labels", "label_ids"])
def test_a_label_outside_the_classes_of_a_hub_dataset(make_unlearner: Make, bert: nn.Module, column: str) -> None:
    """Found in the column itself, without running the transform."""
    features = Features({"text": Value("string"), column: ClassLabel(num_classes=12)})
    dataset = Dataset.from_dict({"text": ["a"] * 3, column: [0, 9, 11]}, features=features)
    dataset = dataset.with_transform(lambda batch: pytest.fail("the check must not run the transform"))
    with unchanged(bert), pytest.raises(ValueError, match=r"the label 11 at index 2, .* the classes 0\.\.9"):
        make_unlearner(bert, dataset)


def test_only_labels_that_are_classes_are_checked(forget: Examples) -> None:
    """-100 is ignored by the loss; numbers to regress on and models that do not predict have no classes."""
    vit, regression, labels = build_model("vit"), build_model("vit"), forget.columns["labels"]
    regression.config.problem_type = "regression"
    ignored = labels.clone()
    ignored[3] = -100

    def is_refused(labels: torch.Tensor, model: nn.Module) -> bool:
        try:
            check_labels("forget_dataset", forget.relabelled(labels), model)
        except ValueError:
            return True
        return False

    assert is_refused(labels + 50, vit) and is_refused(ignored - 1, vit)
    assert not is_refused(ignored, vit)
    assert is_refused(labels + 50.5, vit) and not is_refused(labels + 50.5, regression)
    assert not is_refused(labels + 50, nn.Linear(2, 2))
    assert not is_refused(labels + 50, regression)


# ---- Where to write ----


def test_an_output_directory_that_cannot_be_written_to(
    make_unlearner: Make, vit: nn.Module, forget: Examples, tmp_path: Path
) -> None:
    """Below a file, which fails for every user, root among them."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with (
            unchanged(vit),
            pytest.raises(ValueError, match=re.escape(f"`output_dir` cannot be written to, got `{path}`")),
        ):
            make_unlearner(vit, forget, output_dir=str(path))


def test_the_check_of_an_output_directory_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output_dir(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_constructing_an_unlearner_changes_nothing(make_unlearner: Make, resnet: nn.Module, digits: Examples) -> None:
    """Good input too leaves the model alone until `train()`, its modes among the rest."""
    resnet.classifier.requires_grad_(False)
    modes = [layer.training for layer in resnet.modules()]
    before = copied(resnet)
    with unchanged(resnet):
        make_unlearner(resnet, digits.part(0, 16), tracked_parameters="encoder")
    assert differing(copied(resnet), before) == []
    assert [layer.training for layer in resnet.modules()] == modes
