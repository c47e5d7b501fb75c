"""How the tracked parameters are divided among processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from ..predictor.base import parameter_kind
from ..predictor.config import PARAMETER_KINDS


# `all_gather_single` since torch 2.13, `all_gather_into_tensor` before.
_all_gather_single = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
# An all-gather runs in rounds of at most this many bytes, so that no process holds a second copy of a large model.
GATHER_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Slice:
    """Weights `start` to `stop` of the flattened tensor called `name`."""

    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class LocalShards:
    r"""
    The weights that this process records, predicts and writes back. Prediction is elementwise, so any partition works:

    - `"single"`, one process: all weights;
    - `"replicated"`, several processes with the same weights (DDP, ZeRO-1 and 2): 1/world of them, divided evenly over
      the flattened tensors of each kind, so that every process has the same work for each of the three networks;
    - `"sharded"`, several processes with shards (`fully_shard`, DTensor): the local shard, whatever its size.

    Args:
        tensors (`dict[str, torch.Tensor]`): The tensors, the same on every process; tied ones once.
        rank (`int`, *optional*), world (`int`, *optional*): Those of `torch.distributed` by default.

    Raises:
        ValueError: There are more processes than weights, or only some tensors are sharded.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], rank: int | None = None, world: int | None = None) -> None:
        self.tensors = dict(tensors)
        in_group = distributed.is_available() and distributed.is_initialized()
        self.rank = rank if rank is not None else distributed.get_rank() if in_group else 0
        self.world = world if world is not None else distributed.get_world_size() if in_group else 1
        sharded = {name for name, tensor in self.tensors.items() if isinstance(tensor, DTensor)}
        if sharded and sharded != set(self.tensors):
            whole = sorted(set(self.tensors) - sharded)
            raise ValueError(f"`model` is sharded, but {', '.join(whole[:3])} is not; shard all that is tracked.")
        self.is_sharded = bool(sharded)
        self.is_replicated = self.world > 1 and not self.is_sharded
        self._slices: list[list[Slice]] = []
        if self.is_replicated:
            total = sum(tensor.numel() for tensor in self.tensors.values())
            if self.world > total:
                raise ValueError(
                    f"`model`: {self.world} processes are more than the {total} weights to track; start fewer."
                )
            self._slices = [self._slices_of(rank) for rank in range(self.world)]
        self._own = {part.name: part for part in self._slices[self.rank]} if self.is_replicated else {}

    # ---- Local weights ----

    @property
    def layout(self) -> str:
        """`"single"`, `"replicated"` or `"sharded"`."""
        if self.is_sharded:
            return "sharded"
        return "replicated" if self.is_replicated else "single"

    @property
    def names(self) -> list[str]:
        """Names of the tensors of which this process has a part."""
        return [name for name in self.tensors if not self.is_replicated or name in self._own]

    @property
    def numel(self) -> int:
        """Number of local weights."""
        return sum(local.numel() for _, local in self.items())

    def kind(self, name: str) -> str:
        """Parameter kind of a tensor, by its full shape."""
        return parameter_kind(self.tensors[name].shape)

    def local(self, name: str) -> torch.Tensor:
        """The local part of a tensor, as a view: flat if the weights are replicated, otherwise with its own shape."""
        tensor = self.tensors[name].detach()
        if isinstance(tensor, DTensor):
            return tensor.to_local()
        if not self.is_replicated:
            return tensor
        part = self._own[name]
        return flat_view(tensor, name)[part.start : part.stop]

    def items(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and local view of every tensor of which this process has a part."""
        for name in self.names:
            yield name, self.local(name)

    # ---- All processes ----

    @torch.no_grad()
    def all_gather(self) -> None:
        """Gives all processes the same weights again after each has changed its own part."""
        if not self.is_replicated:
            return
        for dtype in sorted({tensor.dtype for tensor in self.tensors.values()}, key=str):
            self._gather(dtype)

    def _gather(self, dtype: torch.dtype) -> None:
        slices = [[part for part in of_rank if self.tensors[part.name].dtype == dtype] for of_rank in self._slices]
        longest = max(sum(part.size for part in of_rank) for of_rank in slices)
        round_size = max(1, min(longest, GATHER_BYTES // dtype.itemsize // self.world))
        device = next(tensor.device for tensor in self.tensors.values())
        sent = torch.zeros(round_size, dtype=dtype, device=device)
        received = torch.zeros(self.world * round_size, dtype=dtype, device=device)
        for start in range(0, longest, round_size):
            for values, buffer in self._overlaps(slices[self.rank], start, sent):
                buffer.copy_(values)
            _all_gather_single(received, sent)
            for rank, of_rank in enumerate(slices):
                if rank != self.rank:
                    for values, buffer in self._overlaps(of_rank, start, received[rank * round_size :][:round_size]):
                        values.copy_(buffer)

    def _overlaps(
        self, slices: list[Slice], start: int, buffer: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Views of the weights in the round that begins at `start`, each with its part of the buffer."""
        before = 0
        for part in slices:
            low, high = max(start, before), min(start + buffer.numel(), before + part.size)
            if low < high:
                flat = flat_view(self.tensors[part.name].detach(), part.name)
                offset = part.start - before
                yield flat[low + offset : high + offset], buffer[low - start : high - start]
            before += part.size

    def any_rank(self, flag: bool) -> bool:
        """Whether `flag` is true on any process."""
        device = next((tensor.device for tensor in self.tensors.values()), torch.device("cpu"))
        return any_process(flag, device) if self.world > 1 else flag

    def _slices_of(self, rank: int) -> list[Slice]:
        slices = []
        for kind in PARAMETER_KINDS:
            of_kind = [(name, tensor.numel()) for name, tensor in self.tensors.items() if self.kind(name) == kind]
            total = sum(size for _, size in of_kind)
            first, last = total * rank // self.world, total * (rank + 1) // self.world
            before = 0
            for name, size in of_kind:
                start, stop = max(first - before, 0), min(last - before, size)
                if start < stop:
                    slices.append(Slice(name, start, stop))
                before += size
        return slices


def flat_view(tensor: torch.Tensor, name: str = "tensor") -> torch.Tensor:
    """
    A flat view of a dense tensor, in memory order.

    Raises:
        ValueError: The tensor is not dense in memory, so it has no such view.
    """
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=lambda dim: (-strides[dim], dim))
    dense = tensor.permute(order)
    if not dense.is_contiguous():
        raise ValueError(f"`model`: {name} has the strides {strides} and is not dense; make it contiguous.")
    return dense.view(-1)


def any_process(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Whether `flag` is true on any process of the default group; the same answer on all processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return flag
    on_any = torch.tensor(float(flag), device=device)
    distributed.all_reduce(on_any, op=distributed.ReduceOp.MAX)
    return bool(on_any)


def reshard(model: nn.Module) -> None:
    """Frees the gathered weights that FSDP2 keeps after an evaluation; they would hide a change of the shards."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


__all__ = ["LocalShards", "flat_view", "any_process", "reshard"]
