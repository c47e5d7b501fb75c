"""The surrogates by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .base import Surrogates
from .embeddings import MixedEmbeddings
from .images import AdversarialImages, MixedImages, NoisyImages, ShiftedImages
from .tokens import EditedTokens


SURROGATES: dict[str, Callable[[], Surrogates]] = {
    "shifted": ShiftedImages,
    "mixed": MixedImages,
    "noisy": NoisyImages,
    "adversarial": AdversarialImages,
    "edited": EditedTokens,
    "mixed_embeddings": MixedEmbeddings,
}
# Input of a model -> the surrogates that change it by default.
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
        return SURROGATES[name]()
    if isinstance(surrogates, str):
        if surrogates not in SURROGATES:
            raise ValueError(f"`surrogates` must be one of {', '.join(SURROGATES)}, or an object, got {surrogates!r}.")
        return SURROGATES[surrogates]()
    if not isinstance(surrogates, Surrogates):
        raise TypeError(
            f"`surrogates` must be a name or callable with `name` and `forget_only`, got {type(surrogates).__name__}."
        )
    return surrogates


__all__ = ["SURROGATES", "find_surrogates"]
