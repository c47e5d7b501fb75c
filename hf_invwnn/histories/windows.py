"""Windows of weight histories, the training examples of a predictor, and their split by family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers.utils import logging


if TYPE_CHECKING:
    import datasets

logger = logging.get_logger(__name__)

_TENSORS = ("trajectory", "labels", "unit", "tensor_scale")
_NEEDED = {"history", "kind", "run_id", "run_type", "parameter", "architecture", "dataset"}


@dataclass
class Windows(torch.utils.data.Dataset):
    """
    Trajectories of one kind with the past weights to predict.

    Args:
        trajectory (`torch.Tensor` of shape `(N, K)`): Raw weights, oldest first.
        labels (`torch.Tensor` of shape `(N,)`): The weight U epochs before the oldest, or the counterfactual one.
        unit (`torch.Tensor` of shape `(N,)`): Root mean square displacement of the tensor of each weight, before and
            in the window. Errors are divided by it, so that all tensors have the same weight.
        tensor_scale (`torch.Tensor` of shape `(N,)`): Root mean square displacement of the tensor in the window alone,
            which a predictor can know.
        kind (`str`): The kind of the weights.
        family (`np.ndarray` of shape `(N,)`), run (`np.ndarray` of shape `(N,)`): Family and run of each weight.
        normalized (`bool`, defaults to `True`): Whether batches are divided by `unit`, for a scale-free predictor.
        jitter (`float`, defaults to 0.0): Standard deviation of the noise added to all snapshots but the oldest, in
            units of the largest displacement of the weight (`training_jitter` of [`InvWNNConfig`]).
    """

    trajectory: torch.Tensor
    labels: torch.Tensor
    unit: torch.Tensor
    tensor_scale: torch.Tensor
    kind: str
    family: np.ndarray
    run: np.ndarray
    normalized: bool = True
    jitter: float = 0.0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | str]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor | str]:
        """A collated batch."""
        index = torch.as_tensor(indices)
        unit = self.unit[index] if self.normalized else torch.ones(len(index))
        trajectory = self.trajectory[index]
        if self.jitter:
            reach = (trajectory - trajectory[:, :1]).abs().amax(dim=1, keepdim=True)
            noise = self.jitter * reach * torch.randn_like(trajectory)
            trajectory = torch.cat([trajectory[:, :1], (trajectory + noise)[:, 1:]], dim=1)
        return {
            "trajectory": trajectory / unit[:, None],
            "labels": self.labels[index] / unit,
            "unit": self.tensor_scale[index] / unit,
            "kind": self.kind,
        }

    def select(self, chosen: np.ndarray) -> Windows:
        """The windows at some positions, or where a mask is true."""
        index = torch.from_numpy(np.flatnonzero(chosen) if chosen.dtype == bool else chosen)
        return replace(
            self,
            **{name: getattr(self, name)[index] for name in _TENSORS},
            family=self.family[chosen],
            run=self.run[chosen],
        )

    def at_most(self, per_family: int, seed: int = 0) -> Windows:
        """A random subset with at most `per_family` windows of each family, so that large models do not dominate."""
        return self.select(_drawn(self.family, per_family, seed))


def windows_of(
    histories: datasets.Dataset,
    kind: str,
    num_snapshots: int,
    rewind_epochs: int,
    stride: int = 3,
    per_family: int | None = None,
    seed: int = 0,
) -> Windows:
    """
    Windows of every ordinary history of one kind, one every `stride` epochs.

    Tensors that did not move are left out; runs with a value that is not finite are left out with a warning.

    Args:
        histories (`datasets.Dataset`): Rows of [`record_run`].
        kind (`str`): `"conv"`, `"linear"` or `"bias"`.
        num_snapshots (`int`): K.
        rewind_epochs (`int`): U.
        stride (`int`, defaults to 3): Epochs between two windows of a history.
        per_family (`int`, *optional*): The number of windows of each family that are kept, as by
            [`Windows.at_most`]. Only these are copied, so that long windows, which overlap, fit into memory.
        seed (`int`, defaults to 0): Draws the windows that are kept.

    Raises:
        ValueError: A column is missing, a history is shorter than K + U, no weight of this kind moved, or
            `per_family` is not positive.
    """
    if per_family is not None and per_family < 1:
        raise ValueError(f"`per_family` must be positive, got {per_family}.")
    pieces = []
    for tensor in _tensors(histories, "ordinary", kind):
        history = tensor.history
        if history.shape[1] < num_snapshots + rewind_epochs:
            raise ValueError(
                f"`histories` has {history.shape[1]} epochs in {tensor.run}, but K + U = "
                f"{num_snapshots + rewind_epochs} are needed."
            )
        for start in range(rewind_epochs, history.shape[1] - num_snapshots + 1, stride):
            window = history[:, start : start + num_snapshots]
            pieces.append(tensor.piece(window, history[:, start - rewind_epochs]))
    return _joined(pieces, kind, per_family, seed)


def counterfactual_windows(histories: datasets.Dataset, kind: str, num_snapshots: int) -> Windows:
    """
    One window for every weight of every counterfactual run: its trajectory on D_f, and its value without D_f.

    Args:
        histories (`datasets.Dataset`): Rows of [`record_counterfactual`].
        kind (`str`): `"conv"`, `"linear"` or `"bias"`.
        num_snapshots (`int`): K.

    Raises:
        ValueError: A column is missing, a trajectory does not have K snapshots, or no weight of this kind moved.
    """
    pieces = []
    for tensor in _tensors(histories, "counterfactual", kind):
        if tensor.history.shape[1] != num_snapshots:
            raise ValueError(
                f"`histories` has trajectories of {tensor.history.shape[1]} snapshots in {tensor.run}, but K is "
                f"{num_snapshots}."
            )
        pieces.append(tensor.piece(tensor.history, tensor.counterfactual))
    return _joined(pieces, kind)


def split_by_family(
    histories: datasets.Dataset, validation: Sequence[str], test: Sequence[str]
) -> dict[str, datasets.Dataset]:
    """
    Splits histories by family into `"train"`, `"validation"` and `"test"`.

    Args:
        histories (`datasets.Dataset`): With the columns `architecture` and `dataset`.
        validation (`Sequence[str]`): Families for early stopping, such as `"vit x digits"`; `*` matches anything.
        test (`Sequence[str]`): Families for reported results. A family that matches both is in the test set.

    Raises:
        ValueError: A pattern matches no family, or a part is empty; the message lists the families.
    """
    rows = histories.with_format("arrow")[:]
    names = pc.binary_join_element_wise(
        pc.cast(rows["architecture"], pa.string()), pc.cast(rows["dataset"], pa.string()), " x "
    )
    families = sorted(pc.unique(names).to_pylist())
    for argument, patterns in (("validation", validation), ("test", test)):
        for pattern in patterns:
            if not any(fnmatchcase(family, pattern) for family in families):
                raise ValueError(f"`{argument}` has {pattern!r}, which fits none of the families {families}.")
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for family in families:
        parts[_part(family, validation, test)].append(family)
    if empty := [part for part, chosen in parts.items() if not chosen]:
        raise ValueError(f"`validation` and `test` leave no family for {empty}; the families are {families}.")
    # Tables instead of `select`, which would gather rows one by one at every read.
    from datasets import Dataset

    return {
        part: Dataset(rows.filter(pc.is_in(names, value_set=pa.array(chosen))), info=histories.info)
        for part, chosen in parts.items()
    }


def _part(family: str, validation: Sequence[str], test: Sequence[str]) -> str:
    if any(fnmatchcase(family, pattern) for pattern in test):
        return "test"
    return "validation" if any(fnmatchcase(family, pattern) for pattern in validation) else "train"


@dataclass
class _Tensor:
    """The recorded weights of one parameter in one run."""

    run: str
    family: str
    history: np.ndarray
    counterfactual: np.ndarray

    def piece(self, window: np.ndarray, label: np.ndarray) -> dict[str, Any]:
        moved = np.mean(np.square(window[:, -1] - window[:, 0]))
        unit = np.sqrt(moved + np.mean(np.square(window[:, 0] - label)))
        return {
            "trajectory": window,
            "labels": label,
            "unit": np.full(len(label), unit),
            "tensor_scale": np.full(len(label), np.sqrt(moved)),
            "family": np.full(len(label), self.family),
            "run": np.full(len(label), self.run),
            "still": moved == 0,
        }


def _drawn(families: np.ndarray, per_family: int, seed: int) -> np.ndarray:
    """Sorted positions of a random subset with at most `per_family` of each family."""
    order = np.random.default_rng(seed).permutation(len(families))
    chosen = [order[families[order] == family][:per_family] for family in np.unique(families)]
    return np.sort(np.concatenate(chosen))


def _tensors(histories: datasets.Dataset, run_type: str, kind: str) -> Iterator[_Tensor]:
    if missing := sorted(_NEEDED - set(histories.column_names)):
        raise ValueError(f"`histories` lacks the columns {missing}.")
    table = histories.with_format("arrow")[:]
    counterfactual = run_type == "counterfactual"
    mask = pc.and_(pc.equal(table["run_type"], run_type), pc.equal(table["kind"], kind))
    table = table.filter(mask)
    lists = table["history"]
    frame = table.drop_columns(["history"]).to_pandas().reset_index(drop=True)
    groups = frame.groupby(["run_id", "architecture", "dataset", "parameter"], observed=True).indices
    dropped = set()
    for (run, architecture, dataset, _), rows in sorted(groups.items()):
        history = _rows_of(lists, rows)
        if history is None:
            raise ValueError(f"`histories` has weights of different lengths in one tensor of {run}.")
        answers = frame["counterfactual"].to_numpy(np.float32)[rows] if counterfactual else history[:, 0]
        if np.isfinite(history).all() and np.isfinite(answers).all():
            yield _Tensor(run, f"{architecture} x {dataset}", history, answers)
        else:
            dropped.add(run)
    if dropped:
        logger.warning(f"{len(dropped)} runs have weights of kind {kind} that are not finite, which are left out.")


def _rows_of(lists: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray | None:
    """
    Some rows of a column of lists as an array `(N, length)` of float32; `None` if their lengths differ. The column as
    a whole may hold more values than the offsets of one array can count.
    """
    parts = []
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        for chunk in lists.slice(int(run[0]), len(run)).chunks:
            lengths = np.diff(chunk.offsets.to_numpy())
            if (lengths != lengths[0]).any():
                return None
            parts.append(chunk.flatten().to_numpy().reshape(len(chunk), -1))
    if len({part.shape[1] for part in parts}) != 1:
        return None
    return np.concatenate(parts).astype(np.float32, copy=False)


def _joined(pieces: list[dict[str, Any]], kind: str, per_family: int | None = None, seed: int = 0) -> Windows:
    moved = [piece for piece in pieces if not piece.pop("still")]
    if not moved:
        raise ValueError(f"`histories` has no weights of the kind {kind!r} that moved.")
    if per_family is not None:
        chosen = _drawn(np.concatenate([piece["family"] for piece in moved]), per_family, seed)
        ends = np.cumsum([len(piece["labels"]) for piece in moved])
        parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
        starts = [0, *ends[:-1]]
        moved = [
            {name: values[rows - start] for name, values in piece.items()}
            for piece, rows, start in zip(moved, parts, starts, strict=True)
        ]
    whole = {name: np.concatenate([piece[name] for piece in moved]) for name in moved[0]}
    tensors = (torch.from_numpy(whole[name]).float() for name in _TENSORS)
    trajectory, labels, unit, tensor_scale = tensors
    return Windows(trajectory, labels, unit, tensor_scale, kind, whole["family"], whole["run"])


__all__ = ["Windows", "counterfactual_windows", "split_by_family", "windows_of"]
