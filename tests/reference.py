"""Plain, slow versions of what the package computes, read off the paper's equations; the fast ones must equal them."""

from __future__ import annotations

import numpy as np


def dense(weights: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def leaky_relu(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x >= 0, x, slope * x)


def stream(weights: dict[str, np.ndarray], name: str, x: np.ndarray, slope: float) -> np.ndarray:
    """Dense - LeakyReLU - Dense - activation network - Dense - LeakyReLU, in the dtype of x."""
    h = dense(weights, f"{name}.2", leaky_relu(dense(weights, f"{name}.0", x), slope))
    c = np.maximum(dense(weights, f"{name}.3.condition", h), 0)
    factor, rate = dense(weights, f"{name}.3.factor", c), dense(weights, f"{name}.3.rate", c)
    h = factor * np.exp(rate * h) + dense(weights, f"{name}.3.offset", c)
    return leaky_relu(dense(weights, f"{name}.4", h), slope)


def invwnn_residual(weights: dict[str, np.ndarray], trajectory: np.ndarray, slope: float = 0.3) -> np.ndarray:
    """InvWNN(W, dW) for trajectories (N, K), oldest first, in float64: the paper's network, newest first."""
    newest_first = trajectory.astype(np.float64)[:, ::-1]
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    both = np.concatenate(
        [
            stream(weights, "weight_stream", newest_first, slope),
            stream(weights, "difference_stream", np.diff(newest_first, axis=1), slope),
        ],
        axis=1,
    )
    return np.tanh(dense(weights, "output", both))[:, 0]


def rewound(trajectory: np.ndarray, residual: np.ndarray, residual_scale: float) -> np.ndarray:
    """theta^{t-1} = theta^t + scale * residual, for a trajectory (K, N), oldest first."""
    return trajectory[0].astype(np.float64) + residual_scale * residual
