"""SalUn: Random Label on the weights that matter most for the forget set (Fan et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from ..callbacks import UnlearningCallback
from ..training_args import UnlearningArguments
from .random_label import RandomLabelUnlearner


class SalUnUnlearner(RandomLabelUnlearner):
    r"""
    Random Label on a mask of weights. The mask: saliency `s = |sum over the batches of D_f of the gradient of the mean
    loss|`, in evaluation mode, ranked over all parameters together; the top `mask_share` are trained. The others are
    frozen: their gradient is masked, and after each step they and their optimizer state are put back, since weight
    decay and momentum would move them.

    Args:
        mask_share (`float`, defaults to 0.5): Share of the weights that are trained, in (0, 1].
        kwargs: What [`BaselineUnlearner`] takes.

    Raises:
        ValueError: `mask_share` is out of its range; else as [`BaselineUnlearner`].
    """

    method = "salun"
    needs_whole_weights = True

    def __init__(self, *args: Any, mask_share: float = 0.5, **kwargs: Any) -> None:
        if not 0 < mask_share <= 1:
            raise ValueError(f"`mask_share` must lie in (0, 1], got {mask_share}; 0.5 is the paper's.")
        self.mask_share = mask_share
        super().__init__(*args, **kwargs)
        self.add_callback(_Masking(self.unlearning))

    def _make_callback(self, parameters: Mapping[str, nn.Parameter], **kwargs: Any) -> UnlearningCallback:
        return _SalUnCallback(self, parameters, **kwargs)

    def saliency_mask(self) -> dict[str, torch.Tensor]:
        """For every tracked parameter, 1 where it is trained and 0 where it is frozen."""
        parameters = self.unlearning.parameters
        saliency = _saliency(self, parameters)
        flat = torch.cat([value.flatten() for value in saliency.values()])
        chosen = torch.zeros_like(flat)
        # By rank and not by a threshold, so that ties do not change how many there are.
        chosen[flat.argsort(descending=True, stable=True)[: round(self.mask_share * flat.numel())]] = 1
        pieces = chosen.split([value.numel() for value in saliency.values()])
        return {name: piece.view_as(saliency[name]) for name, piece in zip(saliency, pieces, strict=True)}


def _saliency(unlearner: RandomLabelUnlearner, parameters: Mapping[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    model: Any = unlearner.model
    was_training = model.training
    model.eval()
    model.zero_grad()
    assert isinstance(unlearner.eval_dataset, dict)
    for inputs in unlearner.get_eval_dataloader(unlearner.eval_dataset["forget"]):
        unlearner.task_loss(model, unlearner._prepare_inputs(inputs)).backward()
    saliency = {}
    for name, parameter in parameters.items():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
        saliency[name] = unlearner.accelerator.reduce(gradient, reduction="sum").abs()
    model.zero_grad()
    model.train(was_training)
    return saliency


class _SalUnCallback(UnlearningCallback):
    """Holds the mask and what it freezes, from the start of the run or from a checkpoint."""

    def __init__(self, unlearner: SalUnUnlearner, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unlearner = unlearner
        self.mask: dict[str, torch.Tensor] = {}
        self.frozen: dict[str, torch.Tensor] = {}

    def begin_turn(self, arguments: UnlearningArguments) -> None:
        if self.rewinds == 0:
            self.mask = self.unlearner.saliency_mask()
            self.frozen = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def extra_state(self) -> tuple[dict[str, torch.Tensor], int]:
        return {f"mask.{name}": value for name, value in self.mask.items()}, 0

    def load_extra_state(self, tensors: dict[str, torch.Tensor], snapshots: int) -> None:
        if {name.removeprefix("mask.") for name in tensors} != set(self.parameters):
            raise ValueError("it holds no SalUn mask of these parameters")
        self.mask = {
            name: tensors[f"mask.{name}"].to(parameter.device, parameter.dtype)
            for name, parameter in self.parameters.items()
        }
        # What is frozen is still what it was at the start.
        self.frozen = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}


class _Masking(TrainerCallback):
    """Keeps frozen weights where they are, whatever the optimizer."""

    def __init__(self, unlearning: UnlearningCallback) -> None:
        assert isinstance(unlearning, _SalUnCallback)
        self.unlearning = unlearning

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, parameter in self.unlearning.parameters.items():
            if parameter.grad is not None:
                parameter.grad.mul_(self.unlearning.mask[name])

    @torch.no_grad()
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer_state = kwargs["optimizer"].state
        for name, parameter in self.unlearning.parameters.items():
            mask = self.unlearning.mask[name]
            parameter.copy_(torch.where(mask.bool(), parameter, self.unlearning.frozen[name]))
            for value in optimizer_state.get(parameter, {}).values():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    value.mul_(mask)


__all__ = ["SalUnUnlearner"]
