"""Self-distillation: the answer to a forgotten image becomes the mean answer to views of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..recovery.divergence import divergence
from ..surrogates.images import KEY, shifted
from .base import GradientUnlearner, check_positive, logits_of


class SelfDistillationUnlearner(GradientUnlearner):
    r"""
    Minimises, on the forget set alone, with x in D_f, views v_1 .. v_V of it and a surrogate x~,

        KL( p || f(x) ) + weight KL( f_original(x~) || f(x~) ),    p = mean over j of softmax f_original(v_j)

    Nobody has memorised the views, which are shifted and mirrored. With `take_out_label` the label to be forgotten is
    taken out of p, and the rest is scaled to 1. The second term is that of recovery. Forget-only; for images with a
    class each.

    Args:
        views (`int`, defaults to 8): V.
        take_out_label (`bool`, defaults to `False`): Whether p is 0 at the label; for labels that are wrong.
        weight (`float`, defaults to 1.0): Weight of what is kept.
        kwargs: Arguments of [`GradientUnlearner`], `surrogates` among them.

    Raises:
        ValueError: `views` or `weight` is not positive, or the inputs are no images; otherwise as
            [`GradientUnlearner`].
    """

    title = "Self-distillation"
    needs_surrogates = True

    def __init__(
        self, *args: Any, views: int = 8, take_out_label: bool = False, weight: float = 1.0, **kwargs: Any
    ) -> None:
        check_positive("views", views)
        check_positive("weight", weight)
        self.views, self.take_out_label, self.weight = views, take_out_label, weight
        super().__init__(*args, **kwargs)

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        recovery = self.recovery
        rows, near = recovery.inputs.rows_and_surrogates(inputs)
        with torch.no_grad():
            target = self._mean_answer(inputs)
            kept = recovery.answer(recovery.original, near)
        count = len(target)
        logits = logits_of(model, {name: torch.cat([rows[name], near[name]]) for name in rows})
        return divergence(target, logits[:count]) + self.weight * divergence(kept, logits[count:])

    def _mean_answer(self, inputs: dict[str, Any]) -> torch.Tensor:
        """The logarithm of p."""
        recovery, rows = self.recovery, self.recovery.inputs.of(inputs)
        if KEY not in rows:
            raise ValueError(f"`forget_dataset` has no {KEY!r}: self-distillation makes views of images.")
        generator = torch.Generator().manual_seed(recovery.inputs.seed_of_step())
        mean = torch.zeros(())
        for _ in range(self.views):
            view = shifted(rows[KEY], generator, 0.125, True)
            mean = mean + recovery.answer(recovery.original, {**rows, KEY: view}).float().softmax(dim=-1) / self.views
        if self.take_out_label:
            mean = mean.scatter(1, inputs["labels"][:, None], 0.0)
        return mean.clamp_min(1e-30).log()


__all__ = ["SelfDistillationUnlearner"]
