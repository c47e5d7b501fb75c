"""Parting weight histories by family, architecture x dataset, so that a predictor is judged on what it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import datasets


def split_by_family(
    histories: datasets.Dataset, validation: Sequence[str], test: Sequence[str]
) -> dict[str, datasets.Dataset]:
    """
    Parts histories into `"train"`, `"validation"` and `"test"`.

    Args:
        histories (`datasets.Dataset`): With the columns `architecture` and `dataset`.
        validation (`Sequence[str]`): Families to stop training by, such as `"vit x digits"`; `*` stands for anything.
        test (`Sequence[str]`): Families to report on. One that fits both is in the test set.

    Raises:
        ValueError: A pattern fits no family, or a part is left without one; the message lists the families.
    """
    names = [
        f"{architecture} x {dataset}"
        for architecture, dataset in zip(histories["architecture"], histories["dataset"], strict=True)
    ]
    families = sorted(set(names))
    for argument, patterns in (("validation", validation), ("test", test)):
        for pattern in patterns:
            if not any(fnmatchcase(family, pattern) for family in families):
                raise ValueError(f"`{argument}` has {pattern!r}, which fits none of the families {families}.")
    part_of = {family: _part(family, validation, test) for family in families}
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for index, name in enumerate(names):
        parts[part_of[name]].append(index)
    if empty := [part for part, rows in parts.items() if not rows]:
        raise ValueError(f"`validation` and `test` leave no family for {empty}; the families are {families}.")
    return {part: histories.select(rows) for part, rows in parts.items()}


def _part(family: str, validation: Sequence[str], test: Sequence[str]) -> str:
    if any(fnmatchcase(family, pattern) for pattern in test):
        return "test"
    return "validation" if any(fnmatchcase(family, pattern) for pattern in validation) else "train"


__all__ = ["split_by_family"]
