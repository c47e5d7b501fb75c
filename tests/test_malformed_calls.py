"""
Malformed calls and what they say. Every call ends before any work with an error that names the argument, what it got
or what would do: no weight, mode or configuration of a model is changed, and nothing is written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from helpers import Examples, build_model, build_predictor, copied, differing
from PIL import Image as PILImage
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    TrainingArguments,
    ViTImageProcessorPil,
)

from hf_invwnn import InvWNNConfig, InvWNNUnlearner, LinearPredictor, UnlearningArguments, UnlearningSplits
from hf_invwnn.benchmark import read_settings
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main
from hf_invwnn.diffusion import DiffusionImages, diffusion_unlearner
from hf_invwnn.evaluation import relearn
from hf_invwnn.image_classification import DataArguments, ImageTensors, ScenarioArguments, load_classifier, make_splits
from hf_invwnn.methods import make_unlearner
from hf_invwnn.metrics import loss_auc, membership_inference, ulira, unlearning_accuracy
from hf_invwnn.predictor import load_predictor
from hf_invwnn.scenarios import badnets, class_removal, given_indices, label_noise, random_subset


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PROCESSOR = ViTImageProcessorPil(size={"height": 8, "width": 8})


@dataclass
class Kit:
    """What calls are made with; the models are the same for all calls, because none may change them."""

    folder: Path
    vit: nn.Module
    gpt2: nn.Module
    bert: nn.Module
    tokens: nn.Module
    forget: Examples
    texts: Examples
    images: Dataset

    def args(self, **settings: Any) -> UnlearningArguments:
        quiet = {"use_cpu": True, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
        return UnlearningArguments(
            str(self.folder / "out"), **{**quiet, "num_snapshots": 4, "recovery_steps": 0, **settings}
        )

    def run(self, model: Any = None, forget: Any = "", eval_dataset: Any = None, **options: Any) -> Any:
        """An unlearner of the tiny ViT on digits, of which any part can be replaced."""
        own = ("predictor", "stopping_rules", "data_collator", "compute_metrics", "compute_loss_func", "train_dataset",
               "forget_eval_dataset", "model_init")  # fmt: skip
        given = {name: options.pop(name) for name in own if name in options}
        args = options.pop("args", None) or self.args(**options)
        return InvWNNUnlearner(
            self.vit if model is None else model,
            args,
            self.forget if isinstance(forget, str) and not forget else forget,
            eval_dataset,
            **{"predictor": LinearPredictor(), **given},
        )

    def method(self, name: str, **options: Any) -> Any:
        retain = {"retain_dataset": options.pop("retain_dataset", self.forget)}
        return make_unlearner(name, options.pop("model", self.vit), self.args(), self.forget, **retain, **options)

    def relabelled(self, labels: Any) -> Dataset:
        pixels = self.forget.columns["pixel_values"][: len(labels)].numpy().tolist()
        return Dataset.from_dict({"pixel_values": pixels, "labels": labels})

    def changed_pixels(self, **columns: Any) -> Examples:
        return Examples(**{**self.forget.columns, **columns})


@pytest.fixture(scope="module")
def kit(digits: Examples, texts: Examples, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 0, "eos_token_id": 0}
    bert = BertConfig(vocab_size=20, max_position_embeddings=16, num_labels=10, **SMALL)
    picture = PILImage.fromarray(np.zeros((8, 8, 3), np.uint8))
    kit = Kit(
        folder=tmp_path_factory.mktemp("malformed"),
        vit=build_model("vit"),
        gpt2=GPT2LMHeadModel(GPT2Config(vocab_size=20, **shape)).eval(),
        bert=BertForSequenceClassification(bert).eval(),
        tokens=BertForTokenClassification(bert).eval(),
        forget=digits.part(0, 8),
        texts=texts.part(0, 8),
        images=Dataset.from_dict(
            {"image": [picture] * 12, "label": [0, 1, 2] * 4},
            features=Features({"image": Image(), "label": ClassLabel(num_classes=3)}),
        ),
    )
    (kit.folder / "file").write_text("a file")
    (kit.folder / "empty").mkdir()
    before = {name: copied(getattr(kit, name)) for name in ("vit", "gpt2", "bert", "tokens")}
    yield kit
    for name, weights in before.items():
        model = getattr(kit, name)
        assert differing(copied(model), weights) == [], f"a call changed {name}"
        assert not any(module.training for module in model.modules()), f"a call left {name} in training mode"
        assert model.config.problem_type is None, f"a call changed the configuration of {name}"
        assert all(parameter.grad is None for parameter in model.parameters())


class Generator(torch.utils.data.IterableDataset):
    def __iter__(self) -> Any:
        return iter([])


class Bare(nn.Module):
    """Returns what it is told to."""

    def __init__(self, answer: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.answer = nn.Linear(64, 10), answer

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        return self.answer(self.layer(pixel_values.flatten(1)))


def fail(*args: Any, **kwargs: Any) -> Any:
    raise KeyError("mine")


Call = Callable[[Kit], Any]
CALLS: list[tuple[str, Call, str]] = []


def rows(prefix: str, *entries: tuple[Call, str]) -> None:
    CALLS.extend((f"{prefix} {number}", call, message) for number, (call, message) in enumerate(entries, start=1))


# ---- Arguments ----

NUMBERS = (
    *("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"),
    *("label_smoothing_factor", "residual_scale", "ua_tolerance", "max_unseen_loss_rise", "max_unseen_accuracy_drop"),
    *("target_ua", "min_utility", "max_seconds"),
)
for _name in NUMBERS:
    for _value in (math.nan, math.inf, "0.1", True):
        CALLS.append((
            f"{_name}={_value!r}",
            lambda kit, name=_name, value=_value: kit.args(**{name: value}),
            rf"`{_name}` must be a finite number, got",
        ))  # fmt: skip
for _name in ("num_rewinds", "num_snapshots", "snapshot_steps", "warmup_intervals", "save_every_rewinds", "seed"):
    for _value in (2.5, "3", True):
        CALLS.append((
            f"{_name}={_value!r}",
            lambda kit, name=_name, value=_value: kit.args(**{name: value}),
            rf"`{_name}` must be a whole number",
        ))  # fmt: skip
rows(
    "arguments",
    (lambda kit: kit.args(num_rewinds=0), "`num_rewinds` must be a whole number of at least 1, got 0"),
    (lambda kit: kit.args(num_snapshots=1), "`num_snapshots` must be a whole number of at least 2, got 1"),
    (lambda kit: kit.args(warmup_intervals=-1), "`warmup_intervals` must be a whole number of at least 0, got -1"),
    (lambda kit: kit.args(residual_scale=0), r"`residual_scale` must lie in \(0, 10\], got 0"),
    (lambda kit: kit.args(residual_scale=11), r"`residual_scale` must lie in \(0, 10\], got 11"),
    (lambda kit: kit.args(target_ua=-1), r"`target_ua` is in percent and must lie in 0\.\.100, got -1"),
    (lambda kit: kit.args(target_ua=101), r"`target_ua` is in percent and must lie in 0\.\.100, got 101"),
    (lambda kit: kit.args(ua_tolerance=0), "`ua_tolerance` must be positive"),
    (lambda kit: kit.args(max_forget_steps=0), "`max_forget_steps` must be positive, or None for no limit, got 0"),
    (lambda kit: kit.args(max_seconds=-1), "`max_seconds` must be positive, or None for no limit, got -1"),
    (lambda kit: kit.args(max_unseen_loss_rise=0), "`max_unseen_loss_rise` must be a positive share"),
    (lambda kit: kit.args(max_unseen_accuracy_drop=-0.1), "`max_unseen_accuracy_drop` must be a positive share"),
    (
        lambda kit: kit.args(min_utility=30),
        "`min_utility` of eval_unseen_accuracy is a share in 0..1, got 30; 30% is 0.3",
    ),
    (lambda kit: kit.args(min_utility=-0.1), "`min_utility` of eval_unseen_accuracy is a share in 0..1, got -0.1"),
    (
        lambda kit: kit.args(min_utility=9.0, utility_metric="eval_unseen_loss"),
        "`utility_metric` must be a metric of which more is better, got 'eval_unseen_loss'; `max_unseen_loss_rise`",
    ),
    (lambda kit: kit.args(utility_metric="accuracy"), "`utility_metric` must be named like 'eval_unseen_accuracy'"),
    (lambda kit: kit.args(snapshot_strategy="batch"), "`snapshot_strategy` must be one of .*, got 'batch'"),
    (lambda kit: kit.args(trajectory_dtype="int8"), "`trajectory_dtype` must be one of .*, got 'int8'"),
    (lambda kit: kit.args(trajectory_storage="gpu"), "`trajectory_storage` must be one of .*, got 'gpu'"),
    (lambda kit: kit.args(num_train_epochs=7), "`num_train_epochs` follows from `num_rewinds`"),
    (lambda kit: kit.args(max_steps=7), "`max_steps` follows from `num_rewinds`"),
    (lambda kit: kit.args(load_best_model_at_end=True, eval_strategy="no"), "`?load_best_model_at_end`?|--load_best"),
    (
        lambda kit: kit.args(push_to_hub=True, hub_strategy="every_save"),
        "`hub_strategy` must be 'end', got 'every_save'",
    ),
    (lambda kit: kit.args(eval_do_concat_batches=False), "`eval_do_concat_batches` must stay True, got False"),
    (lambda kit: kit.run(batch_eval_metrics=True), "`batch_eval_metrics` must stay False, got True"),
    (lambda kit: kit.run(args=TrainingArguments(str(kit.folder / "out"))), "`args` must be UnlearningArguments"),
    (lambda kit: kit.run(args={"num_rewinds": 3}), "`args` must be UnlearningArguments, got dict"),
    (lambda kit: kit.run(tracked_parameters="decoder"), "`tracked_parameters` matches no trainable parameter, got"),
    (lambda kit: kit.run(tracked_parameters="("), "`tracked_parameters` is not a regular expression"),
    (lambda kit: kit.run(model_init=lambda: kit.vit), "`model_init` is not supported"),
    (
        lambda kit: kit.run(stop_at_unseen_loss=True),
        "`eval_dataset` has no set called 'unseen', which stop_at_unseen_loss",
    ),
    (lambda kit: kit.run(min_utility=0.5), "`eval_dataset` has no set called 'unseen', which min_utility"),
    (
        lambda kit: kit.run(min_utility=0.5, utility_metric="eval_held_out_macro_f1"),
        "`eval_dataset` has no set called 'held_out_macro'",
    ),
)


def with_output(kit: Kit, folder: str) -> Any:
    args = kit.args()
    args.output_dir = folder
    return kit.run(args=args)


rows(
    "output",
    (lambda kit: with_output(kit, ""), "`output_dir` is empty; name a folder"),
    (lambda kit: with_output(kit, str(kit.folder / "file")), "`output_dir` cannot be written to"),
    (lambda kit: with_output(kit, str(kit.folder / "file" / "below")), "`output_dir` cannot be written to"),
)

# ---- The model ----
rows(
    "model",
    (lambda kit: kit.run(model="google/vit"), r"`model` must be a model \(`nn.Module`\), got str"),
    (lambda kit: kit.run(model=build_model), "`model` must be a model .*, got function"),
    (lambda kit: kit.run(model=type(kit.vit)), "`model` must be a model .*, got the class ViTForImageClassification"),
    (lambda kit: kit.run(model=kit.vit.state_dict()), "`model` must be a model .*, got OrderedDict"),
    (lambda kit: kit.run(model=kit.vit.config), "`model` must be a model .*, got ViTConfig"),
    (lambda kit: kit.method("neg_grad", model="google/vit"), "`model` must be a model .*, got str"),
    (
        lambda kit: kit.run(model=Bare(lambda logits: logits)),
        "`model` must return a dictionary with a scalar `loss`.*shape",
    ),
    (
        lambda kit: kit.run(model=Bare(lambda logits: {"logits": logits})),
        "`model` cannot compute its loss.*not return a loss",
    ),
    (lambda kit: kit.run(model=Bare(lambda logits: None)), "`model` cannot compute its loss on two examples"),
    (lambda kit: kit.run(model=Bare(lambda logits: {"loss": logits})), "scalar `loss`.*a tensor of shape"),
    (lambda kit: kit.run(model=Bare(lambda logits: {"loss": 1.0})), "`model` must return .*got float"),
    (lambda kit: kit.run(model=Bare(fail)), "`model` cannot compute its loss on two examples .*KeyError: 'mine'"),
    (lambda kit: kit.run(model=nn.Identity()), "`model` has no parameter that requires grad"),
    (
        lambda kit: kit.run(model=build_model("vit").requires_grad_(False)),
        "`model` has no parameter that requires grad",
    ),
    (lambda kit: kit.run(compute_loss_func=fail), "`model` cannot compute its loss .*KeyError"),
    (
        lambda kit: kit.run(compute_loss_func=lambda outputs, labels, num_items_in_batch=None: labels * 1.0),
        "scalar `loss`.*a tensor of shape",
    ),
    (lambda kit: kit.run(model=kit.gpt2, forget=kit.forget), "`forget_dataset` has no column 'input_ids'|takes"),
)

# ---- Data ----
rows(
    "data",
    (lambda kit: kit.run(forget=None), "`forget_dataset` is None; pass the examples to forget"),
    (lambda kit: kit.run(forget="my/dataset"), "`forget_dataset` must be a data set, got str"),
    (lambda kit: kit.run(forget={"pixel_values": [], "labels": []}), "`forget_dataset` must be a data set, got dict"),
    (lambda kit: kit.run(forget=3), "`forget_dataset` must be a data set, got int"),
    (lambda kit: kit.run(forget=kit.forget.part(0, 0)), "`forget_dataset` is empty"),
    (lambda kit: kit.run(forget=[]), "`forget_dataset` is empty"),
    (lambda kit: kit.run(forget=Generator()), "`forget_dataset` has no length, so an epoch has no end"),
    (lambda kit: kit.run(forget=Dataset.from_dict({"text": ["a", "b"]})), "`forget_dataset` has no column"),
    (lambda kit: kit.run(forget=kit.images), "`forget_dataset` holds raw images under 'image'; process them first"),
    (
        lambda kit: kit.run(forget=Dataset.from_dict({"pixel_values": kit.relabelled([0, 1])["pixel_values"]})),
        "`forget_dataset` has no labels: a batch holds pixel_values",
    ),
    (
        lambda kit: kit.run(forget=kit.relabelled(["cat", "dog"])),
        "`forget_dataset` has a text as the label at index 0",
    ),
    (lambda kit: kit.run(forget=kit.relabelled([0.5, 1.0])), "`forget_dataset` has a float64 as the label at index 0"),
    (lambda kit: kit.run(forget=kit.relabelled([0, None])), "`forget_dataset` has no value as the label at index 1"),
    (
        lambda kit: kit.run(forget=kit.relabelled([[1, 0], [0, 1]])),
        "a list as the label at index 0.*not a one-hot list",
    ),
    (
        lambda kit: kit.run(forget=kit.relabelled([0, 10])),
        r"has the label 10 at index 1, but the model has the classes 0\.\.9",
    ),
    (lambda kit: kit.run(forget=kit.relabelled([-1, 3])), "has the label -1 at index 0"),
    (lambda kit: kit.run(forget=kit.relabelled([True, False])), "has a bool as the label"),
    (lambda kit: kit.run(forget=kit.forget.relabelled(torch.eye(8, 10))), "`forget_dataset` has .*label"),
    (lambda kit: kit.run(forget=kit.forget.relabelled(kit.forget.columns["labels"] + 50)), "has the label 5"),
    (
        lambda kit: kit.run(forget=kit.changed_pixels(pixel_values=torch.full((8, 1, 8, 8), math.nan))),
        "`forget_dataset` holds values under 'pixel_values' that are infinite or NaN",
    ),
    (
        lambda kit: kit.run(forget=kit.changed_pixels(pixel_values=torch.full((8, 1, 8, 8), math.inf))),
        "`forget_dataset` holds values under 'pixel_values' that are infinite or NaN",
    ),
    (
        lambda kit: kit.run(forget=kit.changed_pixels(pixel_values=torch.zeros(8, 3, 8, 8))),
        "`model` cannot compute its loss",
    ),
    (
        lambda kit: kit.run(forget=kit.changed_pixels(pixel_values=torch.zeros(8, 1, 9, 9))),
        "`model` cannot compute its loss",
    ),
    (
        lambda kit: kit.run(forget=[{"pixel_values": torch.zeros(1, size, 8), "labels": 1} for size in (8, 9)]),
        r"`data_collator` cannot make a batch.*'pixel_values' has the shapes \(1, 8, 8\) and \(1, 9, 8\)",
    ),
    (lambda kit: kit.run(forget=[1, 2, 3]), "`forget_dataset`: `data_collator` cannot make a batch of its examples"),
    (lambda kit: kit.run(forget=[{}, {}]), "`forget_dataset` has no column 'pixel_values', which the model needs"),
    (
        lambda kit: kit.run(data_collator=fail),
        "`forget_dataset`: `data_collator` cannot make a batch .*KeyError: 'mine'",
    ),
    (
        lambda kit: kit.run(data_collator=lambda examples: examples),
        "`data_collator` must return a dictionary of tensors",
    ),
    (lambda kit: kit.run(eval_dataset={"forget": kit.forget}), "`eval_dataset` may not have a set called 'forget'"),
    (lambda kit: kit.run(eval_dataset=kit.forget.part(0, 0)), r"`eval_dataset\['unseen'\]` is empty"),
    (
        lambda kit: kit.run(eval_dataset={"test": kit.relabelled([0, 11])}),
        r"`eval_dataset\['test'\]` has the label 11",
    ),
    (lambda kit: kit.run(eval_dataset=kit.images), r"`eval_dataset\['unseen'\]` holds raw images"),
    (
        lambda kit: kit.run(forget_eval_dataset=kit.relabelled([12])),
        "`forget_eval_dataset` has the label 12 at index 0",
    ),
    (lambda kit: kit.run(train_dataset=kit.forget.part(0, 0)), "`train_dataset` is empty"),
    (
        lambda kit: kit.run(train_dataset=kit.changed_pixels(pixel_values=torch.zeros(8, 3, 8, 8))),
        "of `train_dataset`",
    ),
    (
        lambda kit: kit.run(dataloader_drop_last=True, per_device_train_batch_size=64),
        "`dataloader_drop_last` drops them all",
    ),
    (
        lambda kit: kit.run(model=kit.gpt2, forget=Dataset.from_dict({"input_ids": [[1, 25]], "labels": [[1, 2]]})),
        r"`forget_dataset` has the token id 25 at index 0, but the model has token ids 0\.\.19",
    ),
    (
        lambda kit: kit.run(model=kit.gpt2, forget=Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[1, 20]]})),
        "`forget_dataset` has the label 20 at index 0",
    ),
    (
        lambda kit: kit.run(model=kit.tokens, forget=Dataset.from_dict({"input_ids": [[1, 2]], "labels": [[1, 10]]})),
        "`forget_dataset` has the label 10 at index 0",
    ),
    (
        lambda kit: kit.run(model=kit.gpt2, forget=Dataset.from_dict({"input_ids": [[1] * 20], "labels": [[1] * 20]})),
        "`model` cannot compute its loss on two examples of `forget_dataset`",
    ),
    (
        lambda kit: kit.run(
            model=kit.gpt2, forget=Dataset.from_dict({"input_ids": [[1, 2], [1]], "labels": [[1, 2], [1]]})
        ),
        "`forget_dataset`: `data_collator` cannot make a batch",
    ),
)

# ---- Methods ----
rows(
    "methods",
    (
        lambda kit: make_unlearner("forget", kit.vit, kit.args(), kit.forget),
        "`method` must be one of .*, got 'forget'",
    ),
    (lambda kit: kit.method("scrub", retain_dataset=None), "`retain_dataset` is None, and SCRUB trains on retained"),
    (lambda kit: kit.method("ssd", retain_dataset=kit.forget.part(0, 0)), "`retain_dataset` is empty, and SSD"),
    (lambda kit: kit.method("neg_grad_plus", retain_dataset=Generator()), "`retain_dataset` has no length"),
    (lambda kit: kit.method("fine_tuning", retain_dataset=Generator()), "`retain_dataset` has no length"),
    (lambda kit: kit.method("neg_grad_plus", retain_dataset=kit.images), "`retain_dataset` holds raw images"),
    (lambda kit: kit.method("scrub", retain_dataset=kit.relabelled([12])), "`retain_dataset` has the label 12"),
    (lambda kit: kit.method("neg_grad_plus", alpha=0), r"`alpha` must lie in \(0, 1\), got 0"),
    (lambda kit: kit.method("neg_grad_plus", alpha=math.nan), r"`alpha` must lie in \(0, 1\), got nan"),
    (lambda kit: kit.method("neg_grad_plus", alpha=1.5), r"`alpha` must lie in \(0, 1\), got 1.5"),
    (lambda kit: kit.method("salun", mask_share=0), r"`mask_share` must lie in \(0, 1\], got 0"),
    (lambda kit: kit.method("salun", mask_share=math.nan), r"`mask_share` must lie in \(0, 1\], got nan"),
    (lambda kit: kit.method("scrub", alpha=-1), "`alpha` must be 0 or above and finite, got -1"),
    (lambda kit: kit.method("scrub", gamma=math.nan), "`gamma` must be .*, got nan"),
    (lambda kit: kit.method("scrub", temperature=0), "`temperature` must be positive and finite, got 0"),
    (lambda kit: kit.method("scrub", temperature=math.inf), "`temperature` must be .*, got inf"),
    (lambda kit: kit.method("scrub", min_steps=0), "`min_steps` must be .*, got 0"),
    (lambda kit: kit.method("ssd", alpha=0), "`alpha` must be positive and finite, got 0"),
    (lambda kit: kit.method("ssd", alpha=math.inf), "`alpha` must be .*, got inf"),
    (lambda kit: kit.method("ssd", dampening=math.nan), "`dampening` must be .*, got nan"),
    (lambda kit: kit.method("boundary_shrink", step=0, pixel_mean=[0.5], pixel_std=[0.5]), "`step` must be .*got 0"),
    (lambda kit: kit.method("boundary_shrink", step=math.inf, pixel_mean=[0.5], pixel_std=[0.5]), "`step` must be"),
    (lambda kit: kit.method("boundary_shrink"), "`pixel_mean` and `pixel_std` are needed"),
    (lambda kit: make_unlearner("random_label", kit.gpt2, kit.args(), kit.texts), "Random Label works on classes"),
    (
        lambda kit: make_unlearner(
            "random_label", kit.vit, kit.args(), Dataset.from_dict({"pixel_values": [[[[0.0] * 8] * 8]]})
        ),
        "`forget_dataset`: Random Label needs class labels",
    ),
    (
        lambda kit: relearn(kit.vit, kit.forget, kit.forget, str(kit.folder / "r"), level=0),
        r"`level` must lie in \(0, 1\]",
    ),
    (
        lambda kit: relearn(kit.vit, kit.forget, kit.forget, str(kit.folder / "r"), measure_steps=0),
        r"`measure_steps` must lie in 1\.\.`max_steps`",
    ),
)

# ---- Predictors ----
rows(
    "predictor",
    (lambda kit: load_predictor("liner"), "`predictor` cannot be loaded .* 'liner'. Did you mean 'linear'?"),
    (lambda kit: load_predictor("Base"), "Did you mean 'base'?"),
    (lambda kit: load_predictor("bas"), "Did you mean 'base'?"),
    (
        lambda kit: load_predictor(str(kit.folder / "nowhere")),
        "`predictor` cannot be loaded from the folder or Hub id",
    ),
    (lambda kit: load_predictor(3.0), "`predictor` must be a PastWeightPredictor, a folder or a Hub id, got float"),
    (lambda kit: load_predictor(kit.vit), "`predictor` must be a PastWeightPredictor"),
    (lambda kit: kit.run(predictor=build_predictor(5)), "`predictor` was trained for K = 5 snapshots"),
    (lambda kit: InvWNNConfig(num_snapshots=1), "`num_snapshots` must be at least 2, got 1"),
    (lambda kit: InvWNNConfig(num_snapshots=10**9), "`num_snapshots` must be at most 16384, got 1000000000"),
    (lambda kit: InvWNNConfig(num_snapshots="15"), "`num_snapshots` must be a whole number, got '15'"),
    (lambda kit: InvWNNConfig(num_snapshots=True), "`num_snapshots` must be a whole number, got True"),
    (lambda kit: InvWNNConfig(hidden_size=10**6), "`hidden_size` must be at most 8192, got 1000000"),
    (lambda kit: InvWNNConfig(hidden_size=0), "`hidden_size` must be at least 1, got 0"),
    (lambda kit: InvWNNConfig(activation_size=-3), "`activation_size` must be at least 1, got -3"),
    (lambda kit: InvWNNConfig(stream_size=64.0), "`stream_size` must be a whole number, got 64.0"),
    (lambda kit: InvWNNConfig(residual_range=math.nan), "`residual_range` must be a finite number, got nan"),
    (lambda kit: InvWNNConfig(negative_slope="0.3"), "`negative_slope` must be a finite number, got '0.3'"),
    (lambda kit: InvWNNConfig(residual_range=0), "`residual_range` must be positive, got 0"),
    (lambda kit: InvWNNConfig(trajectory_scale="layer"), "`trajectory_scale` must be one of .*, got 'layer'"),
    (lambda kit: InvWNNConfig(target="future"), "`target` must be one of .*, got 'future'"),
    (lambda kit: InvWNNConfig(training_jitter={"conv": -1}), "`training_jitter` must map"),
    (lambda kit: InvWNNConfig(training_jitter=0.1), "`training_jitter` must map .*, got 0.1"),
    (lambda kit: LinearPredictor(math.nan), r"`scale\['conv'\]` must be a finite number"),
    (lambda kit: LinearPredictor({"conv": 1.0}), "`scale`"),
)

# ---- Images, scenarios, metrics ----
rows(
    "images",
    (lambda kit: ImageTensors.from_dataset(kit.images, PROCESSOR, image_column="img"), r"has no column \['img'\]"),
    (lambda kit: ImageTensors.from_dataset(kit.images, PROCESSOR, label_column="y"), r"has no column \['y'\]"),
    (
        lambda kit: ImageTensors.from_dataset(Dataset.from_dict({"image": ["a.png"], "label": [0]}), PROCESSOR),
        "`image_column`: 'image' holds a str and not an image",
    ),
    (
        lambda kit: ImageTensors.from_dataset(
            kit.images.remove_columns("label").add_column("label", ["cat"] * 12), PROCESSOR
        ),
        "`label_column`: 'label' has the label 'cat' in row 0",
    ),
    (
        lambda kit: ImageTensors.from_dataset(
            kit.images.remove_columns("label").add_column("label", [1, None] * 6), PROCESSOR
        ),
        "`label_column`: 'label' has no label in row 1",
    ),
    (
        lambda kit: ImageTensors.from_dataset(
            kit.images.remove_columns("label").add_column("label", [1.0] * 12), PROCESSOR
        ),
        "`label_column`: 'label' has the label 1.0 in row 0",
    ),
    (lambda kit: ImageTensors(torch.zeros(3, 1, 8, 8), torch.zeros(2)), "`labels` must be as many as `pixel_values`"),
    (lambda kit: load_classifier(kit.folder / "nowhere"), "nowhere"),
    (lambda kit: load_classifier(kit.folder / "empty"), "empty"),
    (lambda kit: make_splits(DataArguments(), ScenarioArguments("everything"), 0), "`scenario` must be one of"),
    (
        lambda kit: make_splits(DataArguments(), ScenarioArguments("random_subset", {"share": 0.1}), 0),
        r"`scenario_settings`: random_subset takes .*; got \['share'\]",
    ),
    (
        lambda kit: make_splits(DataArguments(dataset="./no/folder"), ScenarioArguments(), 0),
        "`dataset`: there is no folder",
    ),
    (
        lambda kit: make_splits(DataArguments(max_classes=1), ScenarioArguments(), 0),
        "`max_classes` must be at least 2",
    ),
)
rows(
    "scenarios",
    (lambda kit: random_subset(kit.images, kit.images, fraction=0), "`fraction`"),
    (lambda kit: random_subset(kit.images, kit.images, fraction=math.nan), "`fraction`"),
    (lambda kit: random_subset(kit.images, kit.images, fraction=1.5), "`fraction`"),
    (lambda kit: random_subset(kit.images, kit.images, fraction="half"), "`fraction`"),
    (lambda kit: random_subset(kit.images, kit.images, validation_fraction=2), "`validation_fraction`"),
    (lambda kit: random_subset(kit.images, kit.images, seed=-1), "`seed`"),
    (lambda kit: random_subset(kit.images, kit.images, seed=1.5), "`seed`"),
    (lambda kit: random_subset(kit.images.select([]), kit.images), "`train`"),
    (lambda kit: random_subset(None, kit.images), "`train`"),
    (lambda kit: label_noise(kit.images, kit.images, label_column="y"), "has no column `y`"),
    (lambda kit: class_removal(kit.images, kit.images, label=7), "`label`"),
    (lambda kit: class_removal(kit.images, kit.images, label="owl"), "`label`"),
    (lambda kit: given_indices(kit.images, kit.images, indices=[99]), "99"),
    (lambda kit: given_indices(kit.images, kit.images, indices=[-1]), "-1"),
    (lambda kit: given_indices(kit.images, kit.images, indices=[1, 1]), "`indices"),
    (lambda kit: given_indices(kit.images, kit.images, indices=[]), "`indices"),
    (lambda kit: given_indices(kit.images, kit.images, indices=[1.5]), "`indices"),
    (lambda kit: badnets(kit.images, kit.images, target=9), "`target"),
    (lambda kit: UnlearningSplits.load_from_disk(kit.folder / "nowhere"), "does not hold complete splits"),
    (lambda kit: UnlearningSplits.load_from_disk(kit.folder / "file"), "does not hold complete splits"),
)
rows(
    "metrics",
    (lambda kit: unlearning_accuracy([], [], []), "`predictions`|at least one"),
    (lambda kit: unlearning_accuracy([1], [1, 2], ["forget"]), "`references` must be as many as `predictions`"),
    (lambda kit: unlearning_accuracy([1.5], [1], ["forget"]), "`predictions`"),
    (lambda kit: unlearning_accuracy([1], [1], ["train"]), "`splits`"),
    (lambda kit: loss_auc([], [1.0]), "`"),
    (lambda kit: loss_auc([math.nan], [1.0]), "`"),
    (lambda kit: membership_inference([0.5, 2.0, 0.1], ["forget", "retain", "test"]), "`confidences` must be prob"),
    (lambda kit: membership_inference([0.5], ["forget"]), "`splits`"),
    (lambda kit: membership_inference([0.5, math.nan], ["forget", "test"]), "`confidences`"),
    (lambda kit: ulira([0.1], [0.2]), "`unlearned` must have the shape .* at least 3 models"),
    (lambda kit: ulira([[2.0]] * 3, [[0.2]] * 3), "`unlearned` must hold probabilities in 0..1"),
    (lambda kit: ulira([[0.5]] * 3, [[0.2, 0.1]] * 3), "`"),
)

# ---- Diffusion ----


def diffusion(kit: Kit, dataset: Any, pipeline: Any = None, **options: Any) -> Any:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(4, 8), norm_num_groups=2,
        layers_per_block=1, add_attention=False, **blocks,
    )  # fmt: skip
    made = DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=10)) if pipeline is None else pipeline
    return diffusion_unlearner(made, kit.args(**options), dataset, predictor=LinearPredictor())


rows(
    "diffusion",
    (lambda kit: diffusion(kit, DiffusionImages(torch.zeros(4, 3, 8, 8))), "`forget_dataset`"),
    (lambda kit: diffusion(kit, DiffusionImages(torch.full((4, 1, 8, 8), math.nan))), "`"),
    (lambda kit: diffusion(kit, DiffusionImages(torch.zeros(0, 1, 8, 8))), "empty"),
    (
        lambda kit: diffusion(kit, DiffusionImages(torch.zeros(4, 1, 8, 8)), pipeline=kit.vit),
        "`pipeline` must be a diffusion",
    ),
    (
        lambda kit: diffusion(kit, DiffusionImages(torch.zeros(4, 1, 8, 8)), pipeline="./nowhere"),
        "`pipeline`: there is no",
    ),
    (
        lambda kit: diffusion(kit, DiffusionImages(torch.zeros(4, 1, 8, 8)), target_ua=50.0),
        "`target_ua` needs an accuracy",
    ),
    (lambda kit: diffusion(kit, None), "`forget_dataset` is None"),
)

# ---- Comparisons ----


def settings(kit: Kit, text: str) -> Any:
    path = kit.folder / "settings.yaml"
    path.write_text(text)
    try:
        return read_settings(path)
    finally:
        path.unlink()


_START = "title: x\noutput_dir: out\ndata: {}\nmodel: {}\nscenario: {}\ntraining: {}\n"
rows(
    "comparison",
    (lambda kit: read_settings(kit.folder / "nowhere.yaml"), "`config`: there is no file"),
    (lambda kit: read_settings(kit.folder / "empty"), "`config`: there is no file"),
    (lambda kit: settings(kit, "- a\n- b\n"), "must hold `name: value` lines"),
    (lambda kit: settings(kit, "a: [1\n"), "is not YAML"),
    (lambda kit: settings(kit, "a: " + "[" * 3000 + "]" * 3000), "is nested too deep|is not YAML"),
    (lambda kit: settings(kit, "a: &a [x]\n" + "".join(f"b{n}: *a\n" for n in range(30))), "aliases"),
    (lambda kit: settings(kit, "colour: red\n"), r"has unknown keys \['colour'\]"),
    (lambda kit: settings(kit, "title: x\n"), "lacks"),
    (lambda kit: settings(kit, _START + "methods: {}\n"), "`methods` is empty"),
    (lambda kit: settings(kit, _START + "methods: {magic: {}}\n"), "`method` must be one of"),
    (lambda kit: settings(kit, _START + "methods: {neg_grad: {colour: [1]}}\n"), "neg_grad has no parameter 'colour'"),
    (lambda kit: settings(kit, _START + "methods: {neg_grad: {learning_rate: 1}}\n"), "must be a list of values"),
    (lambda kit: settings(kit, _START + "methods: {neg_grad: {}}\nseeds: [1, 1]\n"), "`seeds` must be different"),
    (lambda kit: settings(kit, _START + "methods: {neg_grad: {}}\nseeds: 3\n"), "`seeds` must be a list"),
    (lambda kit: settings(kit, _START + "methods: [neg_grad]\n"), "`methods` must hold `name: value` lines"),
    (lambda kit: settings(kit, _START + "methods: {neg_grad: {}}\nlevels: [120]\n"), "`levels` are in percent"),
    (
        lambda kit: settings(kit, _START + "methods: {neg_grad: {}}\nbudget_steps: 0\n"),
        "`budget_steps` must be at least 1",
    ),
    (
        lambda kit: settings(kit, _START.replace("data: {}", "data: 3") + "methods: {neg_grad: {}}\n"),
        "`data` must hold",
    ),
)

# ---- The command line ----


def command(*words: str) -> Call:
    return lambda kit: [word.format(folder=kit.folder) for word in words]


COMMANDS: list[tuple[Call, str]] = [
    (command("compare"), "`config` is missing: name the YAML file of a comparison, or results with `table`"),
    (command("compare", "--table", "{folder}/none.json"), "`table`: there is no file .*none.json"),
    (
        command("evaluate", "--unlearned", "{folder}/x", "--retrained", "{folder}/y", "--splits", "{folder}/z"),
        "complete splits",
    ),
    (
        command("evaluate", "--unlearned", "{folder}/x", "--retrained", "{folder}/y", "--splits", "{folder}/file"),
        "splits",
    ),
    (command("compare", "--config", "{folder}/nowhere.yaml"), "there is no file"),
    (command("compare", "--config", "{folder}/empty"), "there is no file"),
    (command("compare", "--config", "{folder}/file"), "must hold `name: value` lines"),
    (command("verify", "{folder}/nowhere"), "is not a finished run"),
    (command("verify", "{folder}/file"), "is not a finished run"),
    (command("verify", "{folder}/empty"), "is not a finished run"),
    (command("verify", "{folder}/empty", "--tolerance", "nan"), "`tolerance` must be a finite number"),
    (command("report", "{folder}/empty", "--html", "{folder}/page.html"), "is not a finished run"),
    (command("report", "{folder}/empty", "--html", "{folder}/empty"), "is a folder"),
    (command("report", "{folder}/empty", "--html", "{folder}/file"), "exists and is not a report"),
    (command("push", "{folder}/nowhere", "ada/model"), "There is no folder|There is no token"),
    (command("push", "{folder}/empty", "not a name"), "must be `user/name`"),
    (
        command(
            "convert-keras",
            "--conv",
            "{folder}/a",
            "--linear",
            "{folder}/b",
            "--bias",
            "{folder}/c",
            "--output_dir",
            "{folder}/p",
        ),
        ".",
    ),
    (
        command("unlearn-diffusion", "--pipeline", "{folder}/nowhere", "--dataset", "digits", "--forget_class", "1"),
        ".",
    ),
    (command("demo", "--output_dir", ""), "`output_dir` is empty"),
    (command("demo", "--output_dir", "{folder}/file"), "`output_dir` cannot be written to"),
    (command("demo", "--seed", "-1"), "`seed` must lie in"),
    (command("demo", "--predictor", "liner", "--output_dir", "{folder}/d"), "Did you mean 'linear'?"),
]
USAGE = [
    ["magic"], [], ["demo", "--seed", "x"], ["demo", "extra"], ["report"], ["verify"], ["push", "only-one"],
    ["compare", "--workers", "many"], ["evaluate"], ["verify", "x", "--tolerance", "much"],
    ["demo", "--colour", "red"],
]  # fmt: skip


def written(kit: Kit) -> list[str]:
    """What lies in the folder, apart from what was put there, and empty folders."""
    return sorted(
        path.relative_to(kit.folder).as_posix()
        for path in kit.folder.rglob("*")
        if path.is_file() and path.name != "file"
    )


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_a_malformed_call_is_refused_by_name_before_any_work(call: Call, message: str, kit: Kit) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError, OSError), match=f"(?s){message}") as refused:
        call(kit)
    assert "\nTraceback" not in str(refused.value)
    assert written(kit) == []


@pytest.mark.parametrize(("words", "message"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_malformed_command_is_one_line_and_exit_code_2(
    words: Call, message: str, kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.chdir(kit.folder / "empty")
    assert main(words(kit)) == EXIT_BAD_INPUT
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("hf-invwnn ")]
    assert len(lines) == 1 and "Traceback" not in error
    assert re.search(message, lines[0])
    assert written(kit) == []


@pytest.mark.parametrize("words", USAGE, ids=lambda words: " ".join(words) or "nothing")
def test_a_command_line_that_cannot_be_parsed_shows_the_usage(
    words: list[str], kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert "usage:" in error and "error:" in error and "Traceback" not in error


def test_there_are_at_least_two_hundred_calls() -> None:
    assert len(CALLS) + len(COMMANDS) + len(USAGE) >= 200
    assert json.dumps([row[0] for row in CALLS]) and len({row[0] for row in CALLS}) == len(CALLS)
