"""What a model answers: its outputs for a batch, which of them count, and a table of them for a whole data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn


# A table is kept if an example has at most so many outputs: 8 kB of 16 bits.
MOST_OUTPUTS = 4096


def outputs_of(model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
    """
    The outputs of a model that are distilled: its logits, or what the model itself returns as `"answers"`.

    Args:
        model (`nn.Module`): Returns a mapping or a tuple.
        inputs (`dict`): A batch.

    Raises:
        ValueError: The model returns no such tensor.
    """
    # A model whose outputs are not logits is asked for them; DDP hides its attributes.
    asked = {"return_answers": True} if hasattr(getattr(model, "module", model), "answers") else {}
    outputs = model(**inputs, **asked)
    if isinstance(outputs, Mapping):
        found = outputs.get("answers", outputs.get("logits"))
    else:
        found = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
    if not torch.is_tensor(found) or found.ndim < 2 or not found.is_floating_point():
        kind = f"shape {tuple(found.shape)}" if torch.is_tensor(found) else type(found).__name__
        raise ValueError(
            f"`model` has no outputs to keep (logits of shape (N, ..., C) are needed, got {kind}); set "
            "`recovery_steps=0`."
        )
    return found


@torch.no_grad()
def table_of(
    batches: Iterable[tuple[torch.Tensor, Mapping[str, Any]]],
    answer: Callable[[Mapping[str, Any]], torch.Tensor],
    count: int,
) -> torch.Tensor:
    """
    What a model answers to every example of a data set, in 16 bits.

    Args:
        batches (`Iterable`): Indices of shape `(N,)`, and the inputs of those examples.
        answer (`Callable`): The outputs of the model for inputs.
        count (`int`): Number of examples.

    Returns:
        `torch.Tensor` of shape `(count, ..., C)`.
    """
    table: torch.Tensor | None = None
    for index, inputs in batches:
        outputs = answer(inputs)
        if table is None:
            table = torch.zeros(count, *outputs.shape[1:], dtype=torch.float16, device=outputs.device)
        table[index.to(table.device)] = outputs.to(table.dtype)
    assert table is not None
    return table


__all__ = ["MOST_OUTPUTS", "outputs_of", "table_of"]
