"""The part of some tensors that this process answers for: all of them, a slice of each kind, or its own shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from .predictor import PARAMETER_KINDS, parameter_kind


# Its name since torch 2.13, and the one before.
_all_gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
# An exchange goes in rounds of at most this many bytes, so that none holds a second copy of a large model.
EXCHANGE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Piece:
    """Weights `start` to `stop` of the flattened tensor called `name`."""

    name: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class Parts:
    r"""
    Which weights this process records, predicts and puts back. Predicting is elementwise, so any partition will do:

    - one process: all of them;
    - several that hold the same weights (DDP, ZeRO-1 and 2): 1/world of them, split evenly over the flattened tensors
      of each kind, so that every process has as much work for each of the three networks;
    - several that hold shards (`fully_shard`, DTensor): the shard that is here, whatever its size.

    Args:
        tensors (`dict[str, torch.Tensor]`): The tensors, the same on every process; tied ones once.
        rank (`int`, *optional*), world (`int`, *optional*): Those of `torch.distributed` by default.

    Raises:
        ValueError: There are more processes than weights, or some tensors are sharded and others not.
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
        self.is_split = self.world > 1 and not self.is_sharded
        self._pieces: list[list[Piece]] = []
        if self.is_split:
            total = sum(tensor.numel() for tensor in self.tensors.values())
            if self.world > total:
                raise ValueError(
                    f"`model`: {self.world} processes are more than the {total} weights to track; start fewer."
                )
            self._pieces = [self._pieces_of(rank) for rank in range(self.world)]
        self._own = {piece.name: piece for piece in self._pieces[self.rank]} if self.is_split else {}

    # ---- What is here ----

    @property
    def layout(self) -> str:
        """How the weights are divided: `"whole"`, `"split"` or `"sharded"`."""
        return "sharded" if self.is_sharded else "split" if self.is_split else "whole"

    @property
    def names(self) -> list[str]:
        """The tensors of which something is here."""
        return [name for name in self.tensors if not self.is_split or name in self._own]

    @property
    def numel(self) -> int:
        """Weights that are here."""
        return sum(local.numel() for _, local in self.items())

    def kind(self, name: str) -> str:
        """The kind of a tensor, by its whole shape."""
        return parameter_kind(self.tensors[name].shape)

    def local(self, name: str) -> torch.Tensor:
        """What is here of a tensor, as a view: of its own shape where it is whole or a shard, else flat."""
        tensor = self.tensors[name].detach()
        if isinstance(tensor, DTensor):
            return tensor.to_local()
        if not self.is_split:
            return tensor
        piece = self._own[name]
        return flat_view(tensor, name)[piece.start : piece.stop]

    def items(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and local view of everything that is here."""
        for name in self.names:
            yield name, self.local(name)

    # ---- What every process must know ----

    @torch.no_grad()
    def exchange(self) -> None:
        """Makes all processes hold the same weights again, after each has changed its own; one all-gather."""
        if not self.is_split:
            return
        for dtype in sorted({tensor.dtype for tensor in self.tensors.values()}, key=str):
            self._exchange(dtype)

    def _exchange(self, dtype: torch.dtype) -> None:
        pieces = [[piece for piece in of_rank if self.tensors[piece.name].dtype == dtype] for of_rank in self._pieces]
        longest = max(sum(piece.size for piece in of_rank) for of_rank in pieces)
        round_size = max(1, min(longest, EXCHANGE_BYTES // dtype.itemsize // self.world))
        device = next(tensor.device for tensor in self.tensors.values())
        sent = torch.zeros(round_size, dtype=dtype, device=device)
        received = torch.zeros(self.world * round_size, dtype=dtype, device=device)
        for start in range(0, longest, round_size):
            for values, buffer in self._overlaps(pieces[self.rank], start, sent):
                buffer.copy_(values)
            _all_gather(received, sent)
            for rank, of_rank in enumerate(pieces):
                if rank != self.rank:
                    for values, buffer in self._overlaps(of_rank, start, received[rank * round_size :][:round_size]):
                        values.copy_(buffer)

    def _overlaps(
        self, pieces: list[Piece], start: int, buffer: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Views of the weights that a round beginning at `start` is about, each with its place in the buffer."""
        before = 0
        for piece in pieces:
            low, high = max(start, before), min(start + buffer.numel(), before + piece.size)
            if low < high:
                flat = flat_view(self.tensors[piece.name].detach(), piece.name)
                offset = piece.start - before
                yield flat[low + offset : high + offset], buffer[low - start : high - start]
            before += piece.size

    def any(self, flag: bool) -> bool:
        """Whether it is so on any process."""
        device = next((tensor.device for tensor in self.tensors.values()), torch.device("cpu"))
        return on_any_process(flag, device) if self.world > 1 else flag

    def _pieces_of(self, rank: int) -> list[Piece]:
        pieces = []
        for kind in PARAMETER_KINDS:
            of_kind = [(name, tensor.numel()) for name, tensor in self.tensors.items() if self.kind(name) == kind]
            total = sum(size for _, size in of_kind)
            first, last = total * rank // self.world, total * (rank + 1) // self.world
            before = 0
            for name, size in of_kind:
                start, stop = max(first - before, 0), min(last - before, size)
                if start < stop:
                    pieces.append(Piece(name, start, stop))
                before += size
        return pieces


def flat_view(tensor: torch.Tensor, name: str = "tensor") -> torch.Tensor:
    """
    A flat view of a dense tensor, in the order in which its numbers lie in memory.

    Raises:
        ValueError: Its numbers are not dense in memory, so that there is no such view.
    """
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=lambda dim: (-strides[dim], dim))
    dense = tensor.permute(order)
    if not dense.is_contiguous():
        raise ValueError(f"`model`: {name} has the strides {strides} and is not dense; make it contiguous.")
    return dense.view(-1)


def on_any_process(flag: bool, device: torch.device | str = "cpu") -> bool:
    """Whether `flag` holds on any process of the default group, if there is one; the same answer on all of them."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return flag
    found = torch.tensor(float(flag), device=device)
    distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
    return bool(found)


def reshard(model: nn.Module) -> None:
    """Drops the whole weights that FSDP2 keeps after an evaluation, which would hide a change of the shards."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


__all__ = ["Parts", "flat_view", "on_any_process", "reshard"]
