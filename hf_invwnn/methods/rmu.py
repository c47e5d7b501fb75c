"""RMU: activations on the forget set become a random vector, those on the retain set stay (Li et al., ICML 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..trainer.dry_run import collated, evaluated, first_examples, in_words
from ..trainer.fingerprint import seeded
from ..trainer.last_good import LastGoodWeights
from ..trajectory.tracking import TrackedParameters
from .base import check_positive
from .paired import PairedUnlearner


class RMUUnlearner(PairedUnlearner):
    r"""
    "Representation misdirection for unlearning" (arXiv 2403.03218) minimises, with the activations h of a layer,

        mean over t of || h(t) - c u ||^2 / d  +  alpha mean over s of || h(s) - h_original(s) ||^2 / d

    t are the tokens of an example of D_f, s those of one of D_r (patches, or places, of an image), without padding;
    each example weighs the same. u is a fixed unit vector of d entries, in the direction of one drawn uniformly from
    [0, 1) with the seed of the run. As in the authors' code, squares are averaged over the d entries; the paper adds
    them up. Only weights that the layer depends on are tracked; the authors train those of three layers
    (`tracked_parameters`).

    Args:
        coefficient (`float`, defaults to 6.5): c, the length that activations on D_f are to have; several times what
            it is in the original model.
        alpha (`float`, defaults to 1200.0): Weight of the retain set.
        layer (`int`, *optional*): Which of the model's `hidden_states`; 0 are the embeddings, n the activations after
            n layers. By default after a quarter of the layers, but at least one.
        kwargs: Arguments of [`GradientUnlearner`]; `retain_dataset` is required.

    Raises:
        ValueError: `coefficient` is not positive, `alpha` is negative, the model returns no hidden states, it has no
            such layer, or no weight that is tracked lies before it; otherwise as [`GradientUnlearner`].
    """

    title = "RMU"
    needs_labels = False

    def __init__(
        self,
        *args: Any,
        coefficient: float = 6.5,
        alpha: float = 1200.0,
        layer: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive("coefficient", coefficient)
        check_positive("alpha", alpha, or_zero=True)
        if layer is not None and (not isinstance(layer, int) or isinstance(layer, bool) or layer < 0):
            raise ValueError(f"`layer` must be a whole number of at least 0, got {layer!r}.")
        self.coefficient, self.alpha, self.layer = coefficient, alpha, layer
        super().__init__(*args, **kwargs)
        self._track_what_the_layer_depends_on()

    def prepare_run(self) -> None:
        self.recovery.keep_original()

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        forget, retain = inputs["forget"], inputs["retain"]
        inner: Any = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), evaluated(inner), self.recovery.original.in_place(inner):
            kept = self.activations(inner, retain)
        pushed = self.activations(model, forget)
        misdirected = _distance(pushed, self.target(pushed), forget)
        return misdirected + self.alpha * _distance(self.activations(model, retain), kept, retain)

    def activations(self, model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
        """The activations of the layer, of shape `(N, T, d)`."""
        states = hidden_states_of(model, self.recovery.inputs.of(inputs))
        layer = max(1, (len(states) - 1) // 4) if self.layer is None else self.layer
        if layer >= len(states):
            raise ValueError(f"`layer` must be at most {len(states) - 1}, the last layer of the model, got {layer}.")
        found = states[layer].float()
        # Convolutions have their units in the second dimension, and places in those after it.
        return found if found.ndim == 3 else found.flatten(2).transpose(1, 2)

    def target(self, activations: torch.Tensor) -> torch.Tensor:
        """`c u`, for activations of d entries."""
        generator = torch.Generator().manual_seed(self.args.seed)
        drawn = torch.rand(activations.shape[-1], generator=generator)
        return (self.coefficient * drawn / drawn.norm()).to(activations.device)

    def _track_what_the_layer_depends_on(self) -> None:
        """As the activations of two examples show; no step changes other weights, and DDP would wait for them."""
        model: Any = self.model
        if any(parameter.is_meta for parameter in model.parameters()):
            return
        with seeded(), evaluated(model), torch.enable_grad():
            examples = first_examples("forget_dataset", self.forget_dataset)
            inputs = collated(self, "forget_dataset", self.forget_dataset, examples)
            try:
                found = self.activations(model, inputs).sum()
            except (TypeError, NotImplementedError) as error:
                raise ValueError(f"`model` returns no hidden states, which RMU needs ({in_words(error)}).") from error
            names, weights = list(self.tracked.parameters), list(self.tracked.parameters.values())
            none = [None] * len(names)
            gradients = torch.autograd.grad(found, weights, allow_unused=True) if found.requires_grad else none
        depends = [gradient is not None for gradient in gradients]
        used = {name: weight for name, weight, used in zip(names, weights, depends, strict=True) if used}
        if not used:
            raise ValueError(
                "`layer` must lie after weights that are tracked, and its activations depend on none of them; choose "
                "a later layer, or other `tracked_parameters`."
            )
        self.tracked = TrackedParameters(used, self.tracked.buffers)
        self.last_good = LastGoodWeights(self.tracked)


def hidden_states_of(model: nn.Module, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
    """
    The hidden states of a model, those before its first layer first.

    Raises:
        ValueError: The model returns none.
    """
    outputs = model(**inputs, output_hidden_states=True)
    states = outputs.get("hidden_states") if isinstance(outputs, Mapping) else None
    if not states or any(not torch.is_tensor(state) or state.ndim < 3 for state in states):
        raise ValueError("`model` returns no hidden states, which RMU needs (`output_hidden_states=True`).")
    return tuple(states)


def _distance(found: torch.Tensor, wanted: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
    """The mean squared difference over the tokens of an example and their entries, and then over examples."""
    each = (found - wanted).square().mean(dim=-1)
    mask = inputs.get("attention_mask")
    counted = mask if torch.is_tensor(mask) and mask.shape == each.shape else torch.ones_like(each)
    return ((each * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)).mean()


__all__ = ["RMUUnlearner", "hidden_states_of"]
