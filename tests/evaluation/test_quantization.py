"""Rounding to few bits against a computation weight by weight."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from helpers import build_model, copied, differing
from torch import nn

from hf_invwnn.evaluation import changed_buckets, quantized


def rounded_by_hand(values: np.ndarray, bits: int) -> np.ndarray:
    """Each output channel has its own step; halves are rounded to even."""
    result = values.astype(np.float64).copy()
    for channel in result:
        flat = channel.reshape(-1)
        largest = np.abs(flat).max()
        for place, value in enumerate(flat):
            steps = 2 ** (bits - 1) - 1
            flat[place] = round(value / (largest / steps)) * (largest / steps) if largest else 0.0
    return result


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("architecture", ["vit", "resnet"])
def test_weights_are_rounded_in_each_channel(architecture: str, bits: int) -> None:
    model = build_model(architecture)
    with torch.no_grad():
        next(parameter for parameter in model.parameters() if parameter.dim() > 1)[0].zero_()
    before = copied(model)
    rounded = dict(quantized(model, bits).named_parameters())
    assert differing(copied(model), before) == []
    for name, parameter in model.named_parameters():
        values = rounded[name].detach().numpy()
        if parameter.dim() == 1:
            assert np.array_equal(values, before[name].numpy())
            continue
        assert len(np.unique(values[-1])) <= 2**bits - 1
        flat, kept = values.reshape(len(values), -1), before[name].numpy().reshape(len(values), -1)
        step = np.abs(kept).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
        # A weight half way between two values may be rounded to either.
        far = np.abs(values - rounded_by_hand(before[name].numpy(), bits)) > 1e-6
        assert far.mean() < 1e-3 and (np.abs(flat - kept) <= 0.5001 * step).all(), name


def test_the_share_of_changed_buckets_is_counted() -> None:
    first, second = (nn.Linear(4, 2, bias=False) for _ in range(2))
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[7.0, 1.0, 0.2, -3.0], [14.0, 2.0, -4.0, 0.0]]))  # steps of 1 and of 2
        second.weight.copy_(torch.tensor([[7.0, 1.4, 0.6, -3.0], [14.0, 2.9, -4.0, -1.2]]))
    assert changed_buckets(first, second, 4) == 100 * 2 / 8
    assert changed_buckets(first, first, 4) == 0


@pytest.mark.parametrize("bits", [1, 17])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    model = nn.Linear(2, 2)
    for call in (lambda: quantized(model, bits), lambda: changed_buckets(model, model, bits)):
        with pytest.raises(ValueError, match=re.escape(f"`bits` must lie in 2..16, got {bits}.")):
            call()
