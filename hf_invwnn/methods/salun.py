"""SalUn: Random Label on the weights with the largest gradients on the forget set (Fan et al., ICLR 2024)."""

from __future__ import annotations

from typing import Any

import torch

from .random_label import RandomLabelUnlearner


class SalUnUnlearner(RandomLabelUnlearner):
    r"""
    Random Label on a mask of weights. The saliency of a weight is `s = |sum over the batches of D_f of the gradient of
    the mean loss|`, in evaluation mode; weights are ranked over all parameters together and the top `mask_share` are
    trained. The others are frozen: their gradients are masked, and after each step their values and optimizer state
    are restored, because weight decay and momentum would change them.

    Args:
        mask_share (`float`, defaults to 0.5): Share of the weights that are trained, in (0, 1].
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `mask_share` is out of its range; otherwise as [`GradientUnlearner`].
    """

    title = "SalUn"
    needs_whole_weights = True

    def __init__(self, *args: Any, mask_share: float = 0.5, **kwargs: Any) -> None:
        if not 0 < mask_share <= 1:
            raise ValueError(f"`mask_share` must lie in (0, 1], got {mask_share}; 0.5 is the value of the paper.")
        self.mask_share = mask_share
        self.mask: dict[str, torch.Tensor] = {}
        self._frozen: dict[str, torch.Tensor] = {}
        super().__init__(*args, **kwargs)

    def saliency_mask(self) -> dict[str, torch.Tensor]:
        """For every tracked parameter, 1 where it is trained and 0 where it is frozen."""
        saliency = self._saliency()
        flat = torch.cat([value.flatten() for value in saliency.values()])
        mask = torch.zeros_like(flat)
        # By rank instead of a threshold, so that ties do not change the number of trained weights.
        mask[flat.argsort(descending=True, stable=True)[: round(self.mask_share * flat.numel())]] = 1
        parts = mask.split([value.numel() for value in saliency.values()])
        return {name: part.view_as(saliency[name]) for name, part in zip(saliency, parts, strict=True)}

    def _saliency(self) -> dict[str, torch.Tensor]:
        model: Any = self.model
        was_training = model.training
        model.eval()
        model.zero_grad()
        assert isinstance(self.eval_dataset, dict)
        for inputs in self.get_eval_dataloader(self.eval_dataset["forget"]):
            self.task_loss(model, self._prepare_inputs(inputs)).backward()
        saliency = {}
        for name, parameter in self.tracked.parameters.items():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
            saliency[name] = self.accelerator.reduce(gradient, reduction="sum").abs()
        model.zero_grad()
        model.train(was_training)
        return saliency

    def on_round_begin(self) -> None:
        if self.run_state.rounds == 0:
            self._freeze(self.saliency_mask())

    def _freeze(self, mask: dict[str, torch.Tensor]) -> None:
        self.mask = mask
        self._frozen = {name: parameter.detach().clone() for name, parameter in self.tracked.parameters.items()}

    def before_optimizer_step(self) -> None:
        for name, parameter in self.tracked.parameters.items():
            if parameter.grad is not None:
                parameter.grad.mul_(self.mask[name])

    @torch.no_grad()
    def after_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for name, parameter in self.tracked.parameters.items():
            mask = self.mask[name]
            parameter.copy_(torch.where(mask.bool(), parameter, self._frozen[name]))
            for value in optimizer.state.get(parameter, {}).values():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    value.mul_(mask)

    def method_state(self) -> tuple[dict[str, torch.Tensor], int]:
        return {f"mask.{name}": value for name, value in self.mask.items()}, 0

    def load_method_state(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        parameters = self.tracked.parameters
        if {name.removeprefix("mask.") for name in tensors} != set(parameters):
            raise ValueError("it has no SalUn mask of these parameters")
        # Frozen weights still have the values of the start.
        self._freeze(
            {name: tensors[f"mask.{name}"].to(value.device, value.dtype) for name, value in parameters.items()}
        )


__all__ = ["SalUnUnlearner"]
