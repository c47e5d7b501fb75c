"""The interface of surrogates, and the surrogates of the package by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch


Inputs = dict[str, torch.Tensor]
# The outputs of the original model for a batch of inputs, differentiable in the inputs.
Answer = Callable[[Mapping[str, Any]], torch.Tensor]


@runtime_checkable
class Surrogates(Protocol):
    """
    Makes inputs near those of the forget set, which nobody has memorised.

    Attributes:
        name (`str`): What the record calls them.
        forget_only (`bool`): Whether they are made from the forget set and the model alone.
    """

    name: str
    forget_only: bool

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        """
        A batch of surrogates for a batch of the forget set.

        Args:
            inputs (`dict[str, torch.Tensor]`): What the model takes, each of `N` rows; not changed.
            generator (`torch.Generator`): On the CPU, and newly seeded in every step; the only source of randomness.
            answer (`Callable`): The outputs of the original model for such inputs.

        Returns:
            `dict[str, torch.Tensor]`: Inputs with the same names, types and devices.
        """
        ...


def _makers() -> dict[str, Callable[[], Surrogates]]:
    from .images import AdversarialImages, MixedImages, NoisyImages, ShiftedImages
    from .tokens import EditedTokens

    return {
        "shifted": ShiftedImages,
        "mixed": MixedImages,
        "noisy": NoisyImages,
        "adversarial": AdversarialImages,
        "edited": EditedTokens,
    }


# Name -> what it is, for help texts.
SURROGATES = {
    "shifted": "images shifted and mirrored",
    "mixed": "mixes of two shifted and mirrored images",
    "noisy": "images with Gaussian noise",
    "adversarial": "images moved towards another class",
    "edited": "texts with dropped, swapped and replaced tokens",
}
# The input that the default surrogates of a modality change.
_DEFAULTS = {"pixel_values": "shifted", "input_ids": "edited"}


def find_surrogates(surrogates: str | Surrogates | None, inputs: Mapping[str, Any]) -> Surrogates:
    """
    Surrogates by name.

    Args:
        surrogates (`str` or [`Surrogates`], *optional*): A name of [`SURROGATES`], or an object, which is returned. By
            default those that suit the inputs.
        inputs (`dict`): A batch of the forget set.

    Raises:
        ValueError: No surrogates have this name, or none suit the inputs.
        TypeError: An object that is no [`Surrogates`].
    """
    if surrogates is None:
        name = next((chosen for key, chosen in _DEFAULTS.items() if key in inputs), None)
        if name is None:
            raise ValueError(
                f"`surrogates` must be given for a model that takes {', '.join(inputs) or 'nothing'}: pass an object, "
                "such as `UnlabelledExamples`, or set `recovery_steps=0`."
            )
        return _makers()[name]()
    if isinstance(surrogates, str):
        if surrogates not in SURROGATES:
            raise ValueError(f"`surrogates` must be one of {', '.join(SURROGATES)}, or an object, got {surrogates!r}.")
        return _makers()[surrogates]()
    if not isinstance(surrogates, Surrogates):
        raise TypeError(
            f"`surrogates` must be a name or callable with `name` and `forget_only`, got {type(surrogates).__name__}."
        )
    return surrogates


__all__ = ["SURROGATES", "Answer", "Inputs", "Surrogates", "find_surrogates"]
