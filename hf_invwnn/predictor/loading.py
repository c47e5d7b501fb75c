"""A predictor from whatever a user names it by."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from .base import PastWeightPredictor
from .linear import LinearPredictor
from .model import InvWNNModel


# The predictor that ships with the package.
BASE_PREDICTOR = str(Path(__file__).parent / "base_predictor")


def load_predictor(predictor: PastWeightPredictor | str | os.PathLike | None = None) -> Any:
    """
    A predictor, ready to predict.

    Args:
        predictor ([`PastWeightPredictor`], `str` or `os.PathLike`, *optional*): One, which is returned as it is; the
            folder or Hub id of one; `"base"` (the default) for the one in the package; `"linear"` for the task vector.

    Raises:
        TypeError: It is not a predictor.
        ValueError: It cannot be loaded, or is incomplete.
    """
    if predictor is None or predictor == "base":
        predictor = BASE_PREDICTOR
    if predictor == "linear":
        return LinearPredictor()
    if isinstance(predictor, (str, os.PathLike)):
        source = os.fspath(predictor)
        try:
            return InvWNNModel.from_pretrained(source).eval().requires_grad_(False)
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"`predictor` cannot be loaded from the folder or Hub id {source!r}.{_did_you_mean(source)} "
                f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            ) from error
    if not isinstance(predictor, PastWeightPredictor):
        raise TypeError(
            f"`predictor` must be a PastWeightPredictor, a folder or a Hub id, got {type(predictor).__name__}."
        )
    return predictor


def _did_you_mean(source: str) -> str:
    close = get_close_matches(source.lower(), ("base", "linear"), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close and "/" not in source else ""


__all__ = ["BASE_PREDICTOR", "load_predictor"]
