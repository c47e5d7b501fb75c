"""DELETE and self-distillation, against their definitions in numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Examples, build_model
from scipy.special import log_softmax, softmax
from torch import nn

from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import make_unlearner
from hf_invwnn.recovery.divergence import without_label
from hf_invwnn.surrogates import ShiftedImages
from hf_invwnn.surrogates.images import shifted


Build = Callable[..., Any]


@pytest.fixture
def build(memorised_vit: nn.Module, noisy: Examples, tmp_path: Path) -> Build:
    def make(name: str, **own: Any) -> Any:
        args = UnlearningArguments(str(tmp_path / "out"), use_cpu=True, report_to="none", seed=4)
        return make_unlearner(name, memorised_vit, args, noisy, **own)

    return make


def logits(model: nn.Module, pixels: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(pixel_values=pixels).logits.double().numpy()


def kl(teacher: np.ndarray, student: np.ndarray) -> float:
    """Of probabilities and logits, the mean over the rows."""
    log = np.log(np.clip(teacher, 1e-300, None))
    return float(np.where(teacher > 0, teacher * (log - log_softmax(student, axis=-1)), 0).sum(axis=-1).mean())


def moved(model: nn.Module) -> nn.Module:
    """The model after other steps, so that student and teacher differ."""
    with torch.no_grad():
        model.classifier.weight.mul_(0.5)  # type: ignore[operator, union-attr]
    return model


def test_delete_takes_the_label_out_of_the_teachers_answer(
    build: Build, memorised_vit: nn.Module, noisy: Examples
) -> None:
    batch = noisy.part(0, 8).columns
    teacher = logits(memorised_vit, batch["pixel_values"])
    teacher[np.arange(8), batch["labels"].numpy()] = -np.inf
    unlearner = build("delete")
    student = logits(moved(memorised_vit), batch["pixel_values"])
    loss = unlearner.compute_loss(memorised_vit.train(), dict(batch))
    assert float(loss) == pytest.approx(kl(softmax(teacher, axis=-1), student), rel=1e-4)
    assert torch.isfinite(torch.autograd.grad(loss, memorised_vit.classifier.weight)[0]).all()  # type: ignore[union-attr]
    rest = torch.softmax(without_label(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2])), dim=-1)
    torch.testing.assert_close(rest, torch.tensor([[1.0, 2.0, -torch.inf]]).softmax(dim=-1))


@pytest.mark.parametrize("take_out_label", [False, True])
def test_self_distillation_learns_the_mean_answer_to_views(
    take_out_label: bool, build: Build, memorised_vit: nn.Module, noisy: Examples
) -> None:
    original = build_model("vit")
    original.load_state_dict(memorised_vit.state_dict())
    batch = noisy.part(0, 8).columns
    surrogates = ShiftedImages(0.25)
    unlearner = build("self_distillation", views=3, weight=0.7, take_out_label=take_out_label, surrogates=surrogates)
    unlearner.recovery.remember_original()
    loss = unlearner.compute_loss(moved(memorised_vit).train(), dict(batch))

    seed = int(np.random.SeedSequence([4, 0, 0]).generate_state(1)[0])
    generator = torch.Generator().manual_seed(seed)
    near = surrogates({"pixel_values": batch["pixel_values"]}, generator, lambda inputs: torch.zeros(0))[
        "pixel_values"
    ]
    generator = torch.Generator().manual_seed(seed)
    views = [shifted(batch["pixel_values"], generator, 0.125, True) for _ in range(3)]
    target = np.mean([softmax(logits(original, view), axis=-1) for view in views], axis=0)
    if take_out_label:
        target[np.arange(8), batch["labels"].numpy()] = 0
        target /= target.sum(axis=-1, keepdims=True)
    forget = kl(target, logits(memorised_vit, batch["pixel_values"]))
    kept = kl(softmax(logits(original, near), axis=-1), logits(memorised_vit, near))
    assert forget > 0.01 and kept > 0.01
    assert float(loss) == pytest.approx(forget + 0.7 * kept, rel=1e-3)


@pytest.mark.parametrize("own", [{"views": 0}, {"weight": -1.0}, {"weight": float("nan")}])
def test_parameters_that_cannot_work_are_refused(own: dict[str, Any], build: Build) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(own))}` must be positive and finite"):
        build("self_distillation", **own)
