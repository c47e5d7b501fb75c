"""Training examples for a predictor, cut from weight histories: a trajectory of K snapshots and the weight before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch


if TYPE_CHECKING:
    import datasets


@dataclass
class Windows(torch.utils.data.Dataset):
    """
    Trajectories of one kind with their past weights.

    Args:
        trajectory (`torch.Tensor` of shape `(N, K)`): Oldest first.
        labels (`torch.Tensor` of shape `(N,)`): The weight `rewind_epochs` before the oldest.
        kind (`str`): Their kind.
        family (`list[str]` of length N): Architecture and dataset that each comes from.
    """

    trajectory: torch.Tensor
    labels: torch.Tensor
    kind: str
    family: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | str]:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor | str]:
        """A whole batch at once, already collated."""
        index = torch.as_tensor(indices)
        return {"trajectory": self.trajectory[index], "labels": self.labels[index], "kind": self.kind}


def windows_of(
    histories: datasets.Dataset,
    kind: str,
    num_snapshots: int,
    rewind_epochs: int,
    stride: int = 3,
    normalized: bool = True,
) -> Windows:
    """
    Cuts windows out of every history of one kind, starting every `stride` epochs.

    If `normalized`, trajectory and label are divided by the root mean square way that the weights of their tensor
    went, before the window and in it, so that every tensor counts alike whatever its learning rate; one that stood
    still is left out.

    Args:
        histories (`datasets.Dataset`): Rows as [`record_run`] makes them.
        kind (`str`): `"conv"`, `"linear"` or `"bias"`.
        num_snapshots (`int`): K.
        rewind_epochs (`int`): U.
        stride (`int`, defaults to 3): Epochs between two windows of a history.
        normalized (`bool`, defaults to `True`): `False` keeps raw weights, for a predictor that is not scale-free.

    Raises:
        ValueError: A column is missing, the histories are shorter than K + U, or none is of this kind.
    """
    needed = {"history", "kind", "run_id", "parameter", "architecture", "dataset"}
    if missing := sorted(needed - set(histories.column_names)):
        raise ValueError(f"`histories` lacks the columns {missing}.")
    frame = histories.with_format("pandas")[:]
    frame = frame[frame["kind"] == kind]
    if frame.empty:
        raise ValueError(f"`histories` has no weights of the kind {kind!r}.")
    trajectories, labels, families = [], [], []
    for (_, _, architecture, dataset), rows in frame.groupby(["run_id", "parameter", "architecture", "dataset"]):
        history = np.stack(rows["history"].to_list())
        if history.shape[1] < num_snapshots + rewind_epochs:
            raise ValueError(
                f"`histories` has {history.shape[1]} epochs, but K + U = {num_snapshots + rewind_epochs} are needed."
            )
        for start in range(rewind_epochs, history.shape[1] - num_snapshots + 1, stride):
            window = history[:, start : start + num_snapshots]
            past = history[:, start - rewind_epochs]
            scale = float(np.sqrt(np.mean(np.square(window[:, -1] - window[:, 0]) + np.square(window[:, 0] - past))))
            if scale > 0:
                unit = scale if normalized else 1.0
                trajectories.append(window / unit)
                labels.append(past / unit)
                families += [f"{architecture} x {dataset}"] * len(window)
    return Windows(
        torch.from_numpy(np.concatenate(trajectories)).float(),
        torch.from_numpy(np.concatenate(labels)).float(),
        kind,
        families,
    )


__all__ = ["Windows", "windows_of"]
