"""The exceptions of the package that more than one part of it raises or handles."""

from __future__ import annotations


class InsufficientMemoryError(RuntimeError):
    """A run needs more memory or disk space than is free."""


class NonFiniteWeightsError(ArithmeticError):
    """A weight became infinite or NaN."""


class NonFiniteImagesError(NonFiniteWeightsError):
    """A diffusion model generated infinite or NaN pixels."""


class NonFiniteLossError(ArithmeticError):
    """An evaluation returned an infinite or NaN loss."""


class MissingMetricError(ValueError):
    """A stopping rule needs a metric that the evaluation does not return."""


class CorruptCheckpointError(ValueError):
    """A checkpoint is incomplete or damaged; the message names the file."""


class CheckpointMismatchError(CorruptCheckpointError):
    """A checkpoint is intact but belongs to a run with other settings or data."""


class OutputFolderInUseError(ValueError):
    """Another run is training in the same output directory."""


__all__ = [
    "CheckpointMismatchError",
    "CorruptCheckpointError",
    "InsufficientMemoryError",
    "MissingMetricError",
    "NonFiniteImagesError",
    "NonFiniteLossError",
    "NonFiniteWeightsError",
    "OutputFolderInUseError",
]
