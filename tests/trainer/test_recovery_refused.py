"""What a recovery cannot work with is refused by name, before any work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import ChangedImages, Examples, build_model, unchanged
from test_recovery import RUN
from torch import nn

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.surrogates import UnlabelledExamples


Make = Callable[..., InvWNNUnlearner]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"recovery_steps": -1}, ValueError, "`recovery_steps` must be a whole number of at least 0, got -1"),
        ({"recovery_steps": 1.5}, ValueError, "`recovery_steps` must be a whole number, got 1.5"),
        ({"recovery_cycles": 0}, ValueError, "`recovery_cycles` must be a whole number of at least 1, got 0"),
        ({"recovery_weight": -1.0}, ValueError, "`recovery_weight` must be 0 or above, got -1.0"),
        ({"recovery_weight": float("nan")}, ValueError, "`recovery_weight` must be a finite number, got nan"),
        ({"recovery_temperature": 0.0}, ValueError, "`recovery_temperature` must be positive, got 0.0"),
        ({"recovery_learning_rate": 0.0}, ValueError, "`recovery_learning_rate` must be positive, got 0.0"),
        ({"recovery_overshoot": 20}, ValueError, "`recovery_overshoot` is a share and must lie in [0, 1], got 20"),
        ({"recovery_start": "begin"}, ValueError, "`recovery_start` must be one of ('rewound', 'original'), got"),
        ({"recovery_schedule": "line"}, ValueError, "`recovery_schedule` must be one of ('cosine', 'constant'), got"),
        ({"surrogates": "mixd"}, ValueError, "`surrogates` must be one of shifted, mixed"),
        (
            {"surrogates": "edited"},
            ValueError,
            "`surrogates` (edited texts) cannot be made of two examples of the forget set (KeyError",
        ),
        (
            {"recovery_without_labels": True, "surrogates": "mixed"},
            ValueError,
            "`recovery_without_labels` needs surrogates that are each near one example, got mixed images",
        ),
        ({"surrogates": 3}, TypeError, "`surrogates` must be a name or callable"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_arguments_that_cannot_work_are_refused(
    options: dict, error: type[Exception], message: str, make_unlearner: Make, noisy: Examples
) -> None:
    model = build_model("vit")
    with unchanged(model), pytest.raises(error, match=re.escape(message)):
        make_unlearner(model, noisy, **{**RUN, **options})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pixels: pixels, "return the forget set itself"),
        (lambda pixels: pixels[:, :, :4] + 1, "must return 'pixel_values' of shape (2, 1, 8, 8) on cpu, got (2, 1, 4"),
        (lambda pixels: pixels[:1] + 1, "must return 'pixel_values' of shape (2, 1, 8, 8) on cpu, got (1, 1, 8"),
        (lambda pixels: (pixels + 1).double(), "must return 'pixel_values' as torch.float32, got torch.float64"),
        (lambda pixels: (pixels + 1).to("meta"), "on cpu, got (2, 1, 8, 8) on meta"),
        (lambda pixels: 255 * (pixels + 1), "the forget set lies in -1 to 1; process them in the same way"),
        (lambda pixels: pixels * float("nan"), "process them in the same way"),
    ],
    ids=["same", "shape", "rows", "type", "device", "range", "nan"],
)
def test_surrogates_that_the_model_does_not_take_are_refused(
    change: Any, message: str, make_unlearner: Make, noisy: Examples
) -> None:
    model = build_model("vit")
    with unchanged(model), pytest.raises(ValueError, match=re.escape(message)):
        make_unlearner(model, noisy, surrogates=ChangedImages(change), **RUN)


def test_the_forget_set_as_unlabelled_examples_is_refused(make_unlearner: Make, noisy: Examples) -> None:
    """The same object, and a copy of it."""
    copy = Examples(**{name: value.clone() for name, value in noisy.columns.items()})
    for own in (noisy, copy):
        with pytest.raises(ValueError, match="`surrogates` hold examples of the forget set"):
            make_unlearner(build_model("vit"), noisy, surrogates=UnlabelledExamples(own), **RUN)


def test_mixed_embeddings_of_images_are_refused(make_unlearner: Make, noisy: Examples) -> None:
    """Before the run, although they are made only when recovery begins."""
    message = re.escape("`surrogates` (mixed embeddings) need `input_ids` and a model whose `get_input_embeddings`")
    with pytest.raises(ValueError, match=message):
        make_unlearner(build_model("vit"), noisy, surrogates="mixed_embeddings", **RUN)


def test_a_model_without_outputs_is_refused(make_unlearner: Make, noisy: Examples) -> None:
    class LossOnly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": nn.functional.cross_entropy(self.linear(pixel_values.flatten(1)), labels)}

    with pytest.raises(ValueError, match="`model` cannot answer without its labels"):
        make_unlearner(LossOnly(), noisy, surrogates="shifted", **{**RUN, "target_ua": None})


def test_a_start_that_is_not_finite_gives_no_answers(make_unlearner: Make, noisy: Examples) -> None:
    model = build_model("vit")
    with torch.no_grad():
        model.classifier.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"`model` answers with values that are infinite or NaN"):
        make_unlearner(model, noisy, **RUN).train()
