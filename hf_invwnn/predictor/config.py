"""The configuration of a past-weight predictor: everything needed to rebuild, train and explain it."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from transformers import PreTrainedConfig


PARAMETER_KINDS = ("conv", "linear", "bias")
TRAJECTORY_SCALES = ("none", "weight", "tensor")
TARGETS = ("past", "counterfactual")


# A network of these sizes has 1.1 billion weights; the paper's has 15 snapshots and layers of 128.
MAX_SNAPSHOTS = 16384
MAX_WIDTH = 8192


class InvWNNConfig(PreTrainedConfig):
    r"""
    Configuration of an [`InvWNNModel`]. The defaults are the network of the paper.

    Args:
        num_snapshots (`int`, defaults to 15):
            K, the number of snapshots in a trajectory. At least 2.
        rewind_epochs (`int`, *optional*):
            U, how many epochs before the oldest snapshot the predicted weight lies. `None` where it is not known, as
            for the authors' weights.
        hidden_size (`int`, defaults to 128):
            Width of the first two dense layers of each stream, and of the activation network's output.
        activation_size (`int`, defaults to 8):
            Width of the hidden layer inside the activation network.
        stream_size (`int`, defaults to 64):
            Width of a stream's last layer.
        negative_slope (`float`, defaults to 0.3):
            Slope of the leaky ReLUs below zero (0.3 is what Keras takes).
        newest_first (`bool`, defaults to `True`):
            Whether the network sees the trajectory backwards in time. Callers always pass it oldest first.
        trajectory_scale (`str`, defaults to `"none"`):
            `"none"` shows the network the raw weights, as the paper does. `"weight"` subtracts the oldest snapshot and
            divides by the weight's own largest displacement from it, so that the prediction moves and scales with the
            weights; a weight that did not move is predicted not to have moved. `"tensor"` divides by the root mean
            square displacement of all the weights of its tensor instead.
        target (`str`, defaults to `"past"`):
            What it was trained to predict: `"past"`, the weight `rewind_epochs` earlier, or `"counterfactual"`, the
            weight of a twin that was trained without the examples of the trajectory.
        residual_range (`float`, defaults to 1.0):
            The largest residual the network can express, in units of `trajectory_scale`: the final tanh is multiplied
            by it.
        kernel_penalty (`float`, defaults to 1e-6), bias_penalty (`float`, defaults to 0.1):
            Weights of the L1 penalties in the training loss (eq. 7 of the paper).
        training_jitter (`dict[str, float]`, *optional*):
            For each kind, the noise added in training to all snapshots but the oldest, over the weight's largest
            displacement; none by default. After a rewind the first steps of fine-tuning undo it and point elsewhere
            than the rest do; a predictor that was trained on noise goes by where the whole trajectory leads.
        initializer_scale (`float`, defaults to 0.1):
            Scale of the variance-scaling initialisation (fan-in, uniform).

    Raises:
        ValueError: A value is out of its range; the message names it.
    """

    model_type = "invwnn"

    def __init__(
        self,
        num_snapshots: int = 15,
        rewind_epochs: int | None = None,
        hidden_size: int = 128,
        activation_size: int = 8,
        stream_size: int = 64,
        negative_slope: float = 0.3,
        newest_first: bool = True,
        trajectory_scale: str = "none",
        target: str = "past",
        residual_range: float = 1.0,
        kernel_penalty: float = 1e-6,
        bias_penalty: float = 0.1,
        training_jitter: dict[str, float] | None = None,
        initializer_scale: float = 0.1,
        **kwargs: Any,
    ) -> None:
        _check_whole("num_snapshots", num_snapshots, 2, MAX_SNAPSHOTS)
        if rewind_epochs is not None:
            _check_whole("rewind_epochs", rewind_epochs, 1, MAX_SNAPSHOTS)
        for name, size in (
            ("hidden_size", hidden_size),
            ("activation_size", activation_size),
            ("stream_size", stream_size),
        ):
            _check_whole(name, size, 1, MAX_WIDTH)
        for name, value in (
            ("negative_slope", negative_slope),
            ("residual_range", residual_range),
            ("kernel_penalty", kernel_penalty),
            ("bias_penalty", bias_penalty),
            ("initializer_scale", initializer_scale),
        ):
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"`{name}` must be a finite number, got {value!r}.")
        if trajectory_scale not in TRAJECTORY_SCALES:
            raise ValueError(f"`trajectory_scale` must be one of {TRAJECTORY_SCALES}, got {trajectory_scale!r}.")
        if target not in TARGETS:
            raise ValueError(f"`target` must be one of {TARGETS}, got {target!r}.")
        if not residual_range > 0:
            raise ValueError(f"`residual_range` must be positive, got {residual_range}.")
        if training_jitter is not None and not isinstance(training_jitter, dict):
            raise ValueError(f"`training_jitter` must map {PARAMETER_KINDS} to 0 or above, got {training_jitter!r}.")
        jitter = training_jitter or {}
        if jitter.keys() - set(PARAMETER_KINDS) or any(not value >= 0 for value in jitter.values()):
            raise ValueError(f"`training_jitter` must map {PARAMETER_KINDS} to 0 or above, got {training_jitter}.")
        self.num_snapshots = num_snapshots
        self.rewind_epochs = rewind_epochs
        self.hidden_size = hidden_size
        self.activation_size = activation_size
        self.stream_size = stream_size
        self.negative_slope = negative_slope
        self.newest_first = newest_first
        self.trajectory_scale = trajectory_scale
        self.target = target
        self.residual_range = residual_range
        self.kernel_penalty = kernel_penalty
        self.bias_penalty = bias_penalty
        self.training_jitter = training_jitter
        self.initializer_scale = initializer_scale
        super().__init__(**kwargs)


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    """Checks a size before memory is taken for it; a configuration may come from anywhere."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"`{name}` must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    if value > most:
        raise ValueError(f"`{name}` must be at most {most}, got {value}.")


__all__ = ["InvWNNConfig", "PARAMETER_KINDS", "TARGETS", "TRAJECTORY_SCALES"]
