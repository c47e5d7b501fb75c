"""Residuals of whole parameters: blocks of weights, what the network sees of them, and which network predicts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .calibration import factored_network, is_calibrated
from .config import InvWNNConfig
from .inference import InferenceNetwork, Workspace
from .network import InvWNNNetwork


# Trajectories predicted at once on an accelerator; their buffers are 60 MiB for the base predictor.
ACCELERATOR_BLOCK_SIZE = 2**16
# Columns of a matrix product on a CPU: few enough for the cache of a core. The cores share the products of a block.
COLUMNS = 256


class PredictionNetwork:
    """
    Predicts with the network of one kind.

    Args:
        network ([`InvWNNNetwork`]): As trained; copied.
        config ([`InvWNNConfig`]): The predictor's.
        device (`torch.device`), dtype (`torch.dtype`): Where and how to compute. Only in float32 is the network
            factored: the error is near the rounding of that dtype.
        workspace ([`Workspace`]): Buffers, on that device and of that dtype.
    """

    def __init__(
        self,
        network: InvWNNNetwork,
        config: InvWNNConfig,
        device: torch.device,
        dtype: torch.dtype,
        workspace: Workspace,
    ) -> None:
        self.scale, self.device, self.dtype, self.workspace = config.trajectory_scale, device, dtype, workspace
        self.exact = InferenceNetwork.exact(network, config).to(device, dtype)
        factored = factored_network(network, config) if dtype == torch.float32 else None
        self.factored = None if factored is None else factored.to(device, dtype)

    def __call__(self, flat: torch.Tensor, block_size: int, unit: torch.Tensor | None = None) -> torch.Tensor:
        """
        Residuals `(N,)` of trajectories `(K, N)`, oldest snapshot first.

        Args:
            flat (`torch.Tensor` of shape `(K, N)`): Any float dtype and device.
            block_size (`int`): Most trajectories at once.
            unit (`torch.Tensor`, *optional*): With `trajectory_scale="tensor"`, the unit of the parameter.
        """
        residual = torch.empty(flat.shape[1], dtype=self.dtype, device=flat.device)
        columns = COLUMNS if self.device.type == "cpu" else block_size
        for start, batch, width in _blocks(flat.shape[1], block_size, columns):
            stop = start + batch * width
            block = flat[:, start:stop].to(self.device, self.dtype).unflatten(1, (batch, width)).transpose(0, 1)
            residual[start:stop] = self._predict(block, unit).flatten()
        return residual

    def _predict(self, block: torch.Tensor, unit: torch.Tensor | None) -> torch.Tensor:
        """Residuals `(batch, 1, n)` of a block `(batch, K, n)`."""
        batch, snapshots, width = block.shape
        oldest, later = block[:, :1], block[:, 1:]
        if self.scale == "none":
            x = self.workspace("x", batch, snapshots, width)
            x[:, :1] = oldest
            torch.sub(later, oldest, out=x[:, 1:])
            return self._raw(x)
        x = torch.sub(later, oldest, out=self.workspace("x", batch, snapshots - 1, width))
        if self.scale == "weight":
            unit = torch.maximum(x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True).neg_())
        assert unit is not None
        # What stood still has unit 0, which makes its residual 0 whatever the network says.
        x.mul_(unit.clamp_min(torch.finfo(unit.dtype).tiny).reciprocal_())
        return (self.factored or self.exact)(x, self.workspace).mul_(unit)

    def _raw(self, x: torch.Tensor) -> torch.Tensor:
        """Predicts weights in the range of the calibration with the factored network, others with the exact one."""
        if self.factored is None:
            return self.exact(x, self.workspace)
        calibrated = is_calibrated(x)
        if bool(calibrated.all()):
            return self.factored(x, self.workspace)
        if not bool(calibrated.any()):
            return self.exact(x, self.workspace)
        residual = self.factored(x, self.workspace).clone()
        others = x.transpose(0, 1)[:, ~calibrated[:, 0]]
        residual[~calibrated] = self.exact(others[None], self.workspace).flatten()
        return residual


def _blocks(count: int, block_size: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Cuts `count` weights into blocks of `batch` matrices with `width` columns: `(start, batch, width)`."""
    start = 0
    while start < count:
        size = min(block_size, count - start)
        batch, width = (size // columns, columns) if size >= columns else (1, size)
        yield start, batch, width
        start += batch * width


class PredictionCache:
    """
    The prediction networks of a model, one for each kind: made when a kind is first predicted, and again when its
    weights have changed. A copy of a model starts with an empty cache.

    Changes are noticed by the addresses of the parameters and by PyTorch's count of writes in place. That count leaves
    out writes through `parameter.data`.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()  # the buffers are shared
        self.workspace: Workspace | None = None
        self.entries: dict[str, _Entry] = {}

    def __reduce__(self) -> tuple[type[PredictionCache], tuple[()]]:
        return PredictionCache, ()

    def network(self, kind: str, network: InvWNNNetwork, config: InvWNNConfig) -> PredictionNetwork:
        """The prediction network of one kind, for the weights that `network` has now."""
        entry = self.entries.get(kind)
        parameters = list(network.parameters())
        state = [(parameter.data_ptr(), _version(parameter)) for parameter in parameters]
        if entry is not None and entry.state == state:
            return entry.network
        device, dtype = parameters[0].device, parameters[0].dtype
        if self.workspace is None or (self.workspace.device, self.workspace.dtype) != (device, dtype):
            self.workspace = Workspace(device, dtype)
        with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
            made = PredictionNetwork(network, config, device, dtype, self.workspace)
        self.entries[kind] = _Entry(state, [parameter.detach() for parameter in parameters], made)
        return made


@dataclass
class _Entry:
    state: list[tuple[int, int]]
    values: list[torch.Tensor]  # kept, so that no other tensor gets their addresses
    network: PredictionNetwork


def _version(parameter: torch.Tensor) -> int:
    """How often the parameter was written in place; PyTorch does not count that for inference tensors."""
    return 0 if parameter.is_inference() else parameter._version


__all__ = ["ACCELERATOR_BLOCK_SIZE", "PredictionCache", "PredictionNetwork"]
