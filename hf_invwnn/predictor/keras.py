"""The authors' Keras weights (three HDF5 files, one for each kind) as an [`InvWNNModel`]."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from .config import PARAMETER_KINDS, InvWNNConfig
from .model import InvWNNModel


if TYPE_CHECKING:
    import h5py


def _layer_names() -> dict[str, str]:
    """Keras' layer name -> the module of `InvWNNNetwork` that it becomes."""
    stream = ["0", "2", "3.condition", "3.offset", "3.factor", "3.rate", "4"]
    modules = [f"{name}.{part}" for name in ("weight_stream", "difference_stream") for part in stream] + ["output"]
    return {f"dense_{number}": module for number, module in enumerate(modules, start=1)}


def convert_keras(
    conv: str | os.PathLike, linear: str | os.PathLike, bias: str | os.PathLike, num_snapshots: int = 15
) -> InvWNNModel:
    """
    Reads the weights released by the paper's authors into one predictor.

    Args:
        conv, linear, bias (`str` or `os.PathLike`): Keras 2 weight files in HDF5, layers `dense_1` to `dense_15`.
        num_snapshots (`int`, defaults to 15): K, the length of the trajectories they take.

    Returns:
        [`InvWNNModel`] in float32, equal to the Keras network to float32 rounding.

    Raises:
        ImportError: `h5py` is not installed (`pip install "hf-invwnn[convert]"`).
        FileNotFoundError: A file does not exist.
        ValueError: A file is no HDF5 file, or a weight in it is missing, unexpected, misshapen or not finite.
    """
    paths = dict(zip(PARAMETER_KINDS, (conv, linear, bias), strict=True))
    for kind, path in paths.items():
        if not os.path.isfile(path):
            raise FileNotFoundError(f"`{kind}`: there is no file `{os.fspath(path)}`.")
    model = InvWNNModel(InvWNNConfig(num_snapshots=num_snapshots))
    weights: dict[str, torch.Tensor] = {}
    for kind, path in paths.items():
        prefix = f"networks.{kind}."
        expected = {
            name.removeprefix(prefix): tuple(value.shape)
            for name, value in model.state_dict().items()
            if name.startswith(prefix)
        }
        for name, value in _read_keras(path, expected).items():
            weights[prefix + name] = value
    model.load_state_dict(weights, strict=True)
    return model.eval()


def _read_keras(path: str | os.PathLike, expected: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The weights of one file under our names, transposed from Keras' `(in, out)`; refuses whatever does not fit."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError('Reading Keras weights needs h5py: `pip install "hf-invwnn[convert]"`.') from error
    source = os.fspath(path)
    try:
        file = h5py.File(source, "r")
    except OSError as error:
        raise ValueError(f"`{source}` is not a complete HDF5 file ({error}).") from error
    with file:
        arrays = _datasets(file.get("model_weights", file))
    layers = _layer_names()
    problems: list[str] = []
    weights: dict[str, torch.Tensor] = {}
    for layer, module in layers.items():
        for keras_name, name in (("kernel", f"{module}.weight"), ("bias", f"{module}.bias")):
            value = arrays.pop(f"{layer}/{keras_name}", None)
            if value is None:
                problems.append(f"{layer}/{keras_name} is missing")
                continue
            value = value.T.contiguous() if keras_name == "kernel" else value
            if tuple(value.shape) != expected[name]:
                problems.append(f"{layer}/{keras_name} has shape {tuple(value.T.shape)}, not {expected[name][::-1]}")
            elif not value.isfinite().all():
                problems.append(f"{layer}/{keras_name} is not finite")
            else:
                weights[name] = value
    problems += [f"{name} is unexpected" for name in arrays]
    if problems:
        raise ValueError(f"`{source}` does not hold the weights of InvWNN: {'; '.join(problems)}.")
    return weights


def _datasets(group: h5py.Group) -> dict[str, torch.Tensor]:
    """Every array below `group` in float32 as `layer/name`, e.g. `dense_1/kernel`."""
    import h5py

    arrays: dict[str, torch.Tensor] = {}

    def visit(path: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            name = f"{path.split('/')[0]}/{path.split('/')[-1].removesuffix(':0')}"
            arrays[name] = torch.from_numpy(item[()]).float()

    group.visititems(visit)
    return arrays


__all__ = ["convert_keras"]
