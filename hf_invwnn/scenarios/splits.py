"""The datasets of an unlearning experiment, and the hash of its forget set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset

from .checks import checked_indices
from .held_out import without
from .saving import RECORD_NAME, read_splits, write_splits


FORMAT_VERSION = 1
# Scenarios that forget the whole training set.
RETAIN_NOTHING = ("overfitting",)
_RECORDED = ("format_version", "scenario", "seed", "label_column", "settings", "counts", "sha256", "forget_indices")


def hash_indices(indices: Iterable[int]) -> str:
    """
    SHA-256, in hexadecimal, of forget indices.

    The hashed bytes are the indices sorted ascending, each as a little-endian signed 64-bit integer. Equal hashes mean
    that two runs forgot the same rows. The hash hides the rows only if there are too many possible sets to try: a
    single index can be recovered by hashing every index.

    Args:
        indices (`Iterable[int]`): Row numbers in any order.
    """
    return hashlib.sha256(np.sort(np.fromiter(indices, dtype="<i8")).tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class UnlearningSplits:
    """
    The datasets of one unlearning experiment. The model is trained on `train`, which `forget` and `retain` divide.

    The scenarios and [`UnlearningSplits.from_indices`] build it.

    Args:
        train (`Dataset`): D_f and D_r, exactly the training set of the model.
        forget (`Dataset`): D_f, the rows `forget_indices` of `train`, in the order of `train`.
        retain (`Dataset`): D_r, all other rows of `train`, in the order of `train`.
        validation (`Dataset`): Examples the model was not trained on, to choose hyperparameters; may be empty.
        test (`Dataset`): Examples the model was not trained on, to report results on.
        forget_indices (`tuple[int, ...]`): Rows of `train`, sorted ascending.
        seed (`int`, *optional*): Seed of every draw; `None` if nothing was drawn.
        scenario (`str`): Name of the scenario that made them.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.
        settings (`Mapping[str, Any]`, *optional*): Other arguments of the scenario, as JSON types. They are saved but
            never published, because the name of a forgotten class may be that of a person.

    Raises:
        ValueError: `forget_indices` are not sorted, not rows of `train`, or do not match `forget` and `retain`.
    """

    train: Dataset
    forget: Dataset
    retain: Dataset
    validation: Dataset
    test: Dataset
    forget_indices: tuple[int, ...]
    seed: int | None
    scenario: str
    label_column: str = "label"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if tuple(self.forget_indices) != _checked(self.forget_indices, self.train, self.scenario):
            raise ValueError("`forget_indices` must be sorted ascending; `from_indices` sorts them.")
        expected = (len(self.forget_indices), len(self.train) - len(self.forget_indices))
        if (len(self.forget), len(self.retain)) != expected:
            raise ValueError(
                f"`forget` and `retain` must hold {expected[0]} and {expected[1]} examples to match `forget_indices`, "
                f"got {len(self.forget)} and {len(self.retain)}; `from_indices` selects both."
            )

    @classmethod
    def from_indices(
        cls,
        train: Dataset,
        forget_indices: Iterable[int],
        *,
        validation: Dataset,
        test: Dataset,
        scenario: str,
        seed: int | None = None,
        label_column: str = "label",
        settings: Mapping[str, Any] | None = None,
    ) -> UnlearningSplits:
        """
        Splits `train` into D_f and D_r.

        Args:
            train (`Dataset`): The training set of the model.
            forget_indices (`Iterable[int]`): Rows of `train`, in any order.

        The other arguments are those of the class.

        Raises:
            TypeError: An index is not an integer.
            ValueError: The indices are empty, negative, out of range, repeated or, except for `"overfitting"`, all
                rows of `train`.
        """
        indices = _checked(forget_indices, train, scenario)
        return cls(
            train=train,
            forget=train.select(indices),
            retain=train.select(without(len(train), np.asarray(indices))),
            validation=validation,
            test=test,
            forget_indices=indices,
            seed=seed,
            scenario=scenario,
            label_column=label_column,
            settings=dict(settings or {}),
        )

    @property
    def sha256(self) -> str:
        """Hash of the forget indices, see [`hash_indices`]."""
        return hash_indices(self.forget_indices)

    def summary(self) -> dict[str, Any]:
        """
        Scenario and number of examples in each split. Neither the seed, with which anybody who has the data can draw
        the same examples, nor the hash of the indices, which can be found by trying small sets.
        """
        return {"scenario": self.scenario, "counts": self._counts()}

    def _counts(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in ("train", "forget", "retain", "validation", "test")}

    def save_to_disk(self, path: str | os.PathLike[str]) -> None:
        """
        Saves the datasets and `splits.json` into a new folder, atomically.

        The folder is private, because it holds the forget set and its indices; do not upload it. Formats and
        transforms are not saved.

        Args:
            path (`str` or `os.PathLike`): A local folder that does not exist yet, or is empty.

        Raises:
            FileExistsError: `path` is a file or a folder that is not empty.
        """
        record = {
            "format_version": FORMAT_VERSION,
            **self.summary(),
            "seed": self.seed,
            "sha256": self.sha256,
            "label_column": self.label_column,
            "settings": dict(self.settings),
            "forget_indices": list(self.forget_indices),
        }
        write_splits(path, {"train": self.train, "validation": self.validation, "test": self.test}, record)

    @classmethod
    def load_from_disk(cls, path: str | os.PathLike[str]) -> UnlearningSplits:
        """
        Loads a folder saved by [`~UnlearningSplits.save_to_disk`].

        Args:
            path (`str` or `os.PathLike`): The folder.

        Raises:
            FileNotFoundError: `splits.json` or a dataset is missing.
            ValueError: `splits.json` lacks an entry, has another version, or does not match its hash or the
                datasets.
        """
        datasets, record = read_splits(path)
        where = f"{RECORD_NAME} in {str(path)!r}"
        missing = [key for key in _RECORDED if key not in record]
        if missing:
            raise ValueError(f"{where} lacks {missing}; save the splits again.")
        if record["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"{where} has format_version {record['format_version']!r}, this version reads {FORMAT_VERSION}."
            )
        indices = _checked(record["forget_indices"], datasets["train"], record["scenario"], f" of {where}")
        if hash_indices(indices) != record["sha256"]:
            raise ValueError(
                f"{where} has forget_indices that do not match its sha256 {record['sha256']!r}: one of them was "
                "changed after the splits were saved; restore the original folder."
            )
        splits = cls.from_indices(
            datasets["train"],
            indices,
            validation=datasets["validation"],
            test=datasets["test"],
            scenario=record["scenario"],
            seed=record["seed"],
            label_column=record["label_column"],
            settings=record["settings"],
        )
        if splits._counts() != record["counts"]:
            raise ValueError(f"{where} counts {record['counts']}, but the folder holds {splits._counts()}.")
        return splits


def _checked(indices: Iterable[int], train: Dataset, scenario: str, where: str = "") -> tuple[int, ...]:
    return checked_indices(indices, len(train), f"forget_indices{where}", allow_all=scenario in RETAIN_NOTHING)


__all__ = ["FORMAT_VERSION", "UnlearningSplits", "hash_indices"]
