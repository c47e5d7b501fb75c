"""What the tests build their cases from: tiny models, datasets, predictors, and bitwise comparison of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ConvNextConfig,
    ConvNextForImageClassification,
    PvtV2Config,
    PvtV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    TrainerCallback,
    ViTConfig,
    ViTForImageClassification,
)

from hf_invwnn import InvWNNConfig, InvWNNModel, InvWNNUnlearner, LinearPredictor, UnlearningArguments


ARCHITECTURES = ("vit", "convnext", "pvt_v2", "resnet", "bert")
NUM_CLASSES = 10
SNAPSHOTS = 4
OPTIONS_OF_THE_UNLEARNER = (
    "predictor",
    "eval_dataset",
    "forget_eval_dataset",
    "stopping_rules",
    "callbacks",
    "compute_metrics",
    "compute_loss_func",
    "train_dataset",
    "surrogates",
    "model_init",
)


KERAS_KINDS = ("conv", "linear", "bias")
KERAS_SHAPES = {
    **dict.fromkeys(("dense_1",), (15, 128)),
    **dict.fromkeys(("dense_8",), (14, 128)),
    **dict.fromkeys(("dense_2", "dense_9"), (128, 128)),
    **dict.fromkeys(("dense_3", "dense_10"), (128, 8)),
    **dict.fromkeys(("dense_4", "dense_5", "dense_6", "dense_11", "dense_12", "dense_13"), (8, 128)),
    **dict.fromkeys(("dense_7", "dense_14"), (128, 64)),
    "dense_15": (128, 1),
}


class Examples(torch.utils.data.Dataset):
    """A sized torch dataset of dictionaries of tensors."""

    def __init__(self, **columns: torch.Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns["labels"])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: column[index] for name, column in self.columns.items()}

    def part(self, start: int, stop: int) -> Examples:
        return Examples(**{name: column[start:stop] for name, column in self.columns.items()})

    def relabelled(self, labels: torch.Tensor) -> Examples:
        return Examples(**{**self.columns, "labels": labels})


def with_noise(digits: Examples) -> Examples:
    labels = digits.columns["labels"].clone()
    labels[:32] = (labels[:32] + 3) % NUM_CLASSES
    return digits.relabelled(labels)


def build_model(architecture: str, seed: int = 0, **config: Any) -> nn.Module:
    """A classifier of ten classes with a few thousand weights, in evaluation mode."""
    torch.manual_seed(seed)
    model: nn.Module
    if architecture == "vit":
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        model = ViTForImageClassification(
            ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=NUM_CLASSES, **{**shape, **config})
        )
    elif architecture == "convnext":
        shape = {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "patch_size": 2}
        model = ConvNextForImageClassification(
            ConvNextConfig(image_size=8, num_channels=1, num_labels=NUM_CLASSES, **{**shape, **config})
        )
    elif architecture == "pvt_v2":
        shape = {
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "hidden_sizes": [8, 16],
            "num_attention_heads": [1, 2],
            "patch_sizes": [3, 3],
            "strides": [2, 2],
            "sr_ratios": [2, 1],
            "mlp_ratios": [2, 2],
        }
        model = PvtV2ForImageClassification(
            PvtV2Config(image_size=8, num_channels=1, num_labels=NUM_CLASSES, **{**shape, **config})
        )
    elif architecture == "resnet":
        shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
        model = ResNetForImageClassification(
            ResNetConfig(num_channels=1, num_labels=NUM_CLASSES, **{**shape, **config})
        )
    else:
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        model = BertForSequenceClassification(
            BertConfig(vocab_size=20, max_position_embeddings=16, num_labels=NUM_CLASSES, **{**shape, **config})
        )
    return model.eval()


def copied(model: nn.Module) -> dict[str, torch.Tensor]:
    """All weights and buffers as they are now."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def differing(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that are not bitwise the same."""
    assert found.keys() == expected.keys()
    return [name for name, value in expected.items() if not torch.equal(found[name], value)]


def align(model: nn.Module) -> None:
    """
    Copies every weight to newly allocated, aligned memory. Weights that are mapped from a safetensors file begin at
    any multiple of eight bytes, and kernels for small batches sum in another order there: the results of the same
    weights differ in the last digits.
    """
    for value in (*model.parameters(), *model.buffers()):
        value.data = value.data.clone()


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Fails if anything inside changes a weight, a buffer or a `requires_grad` of the model."""
    weights, flags = copied(model), [parameter.requires_grad for parameter in model.parameters()]
    yield
    assert differing(copied(model), weights) == []
    assert [parameter.requires_grad for parameter in model.parameters()] == flags


def build_predictor(num_snapshots: int = SNAPSHOTS, seed: int = 0, **config: Any) -> InvWNNModel:
    """A small InvWNN with seeded weights and no bias of zero, so that every one of them counts."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "activation_size": 4, "stream_size": 8, "initializer_scale": 1.0}
    model = InvWNNModel(InvWNNConfig(num_snapshots=num_snapshots, **{**sizes, **config}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return model.eval()


class ConstantPredictor:
    """Says that no weight has moved for its first `still_calls` parameters, and `residual` for every later one."""

    num_snapshots: int | None = None

    def __init__(self, residual: float, still_calls: int = 0) -> None:
        self.residual, self.still_calls, self.calls = residual, still_calls, 0

    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        self.calls += 1
        return torch.full_like(trajectory[0], self.residual if self.calls > self.still_calls else 0.0)


def build_unlearner(model: nn.Module, forget_dataset: Any, **options: Any) -> InvWNNUnlearner:
    """
    The task vector, K = 4, two rewinds, no recovery, batches of 8 and no checkpoints, unless `options` say otherwise.

    What `InvWNNUnlearner` takes beside `args` is told apart by its name; all else goes to `UnlearningArguments`.
    """
    defaults = {
        "num_rewinds": 2,
        "num_snapshots": SNAPSHOTS,
        "recovery_steps": 0,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 256,
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "report_to": "none",
        "use_cpu": True,
    }
    own = {name: value for name, value in options.items() if name in OPTIONS_OF_THE_UNLEARNER}
    rest = {name: value for name, value in options.items() if name not in own}
    args = UnlearningArguments(**{**defaults, **rest})
    return InvWNNUnlearner(model, args, forget_dataset, **{"predictor": LinearPredictor(), **own})


class TwoModels:
    """The original and a rewound model as two sets of weights of one."""

    def __init__(self, model: nn.Module, rewound: dict[str, torch.Tensor]) -> None:
        self.model, self._rewound, self._original = model, rewound, copied(model)

    @contextmanager
    def original(self) -> Iterator[None]:
        yield

    @contextmanager
    def rewound(self) -> Iterator[None]:
        self.model.load_state_dict(self._rewound)
        yield
        self.model.load_state_dict(self._original)


class ChangedImages:
    """Surrogates that a function makes."""

    name, forget_only = "a test", True

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.change = change

    def __call__(self, inputs: Any, generator: torch.Generator, answer: Any) -> Any:
        return {**inputs, "pixel_values": self.change(inputs["pixel_values"])}


class RaiseAt(TrainerCallback):
    """Raises when a step has been taken, before the unlearning callback sees it."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise self.error


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in point.items() if name != "seconds"} for point in history]
