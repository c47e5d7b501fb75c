"""Trajectories of weights: which parameters, recorded where, and rewound by a predictor."""

from .freezing import frozen_parameters, frozen_statistics
from .rewind import past_weights, rewind
from .sharding import LocalShards
from .snapshot import Snapshot, interpolate
from .tracking import TrackedParameters, select_parameters
from .trajectory import Trajectory


__all__ = [
    "LocalShards",
    "Snapshot",
    "TrackedParameters",
    "Trajectory",
    "frozen_parameters",
    "frozen_statistics",
    "interpolate",
    "past_weights",
    "rewind",
    "select_parameters",
]
