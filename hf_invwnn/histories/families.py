"""Parting weight histories by family, architecture x dataset, so that a predictor is judged on what it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import datasets
import pyarrow as pa
import pyarrow.compute as pc


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
    # Whole tables rather than `select`: rows behind a list of indices are gathered one by one at every reading.
    return {
        part: datasets.Dataset(rows.filter(pc.is_in(names, value_set=pa.array(chosen))), info=histories.info)
        for part, chosen in parts.items()
    }


def _part(family: str, validation: Sequence[str], test: Sequence[str]) -> str:
    if any(fnmatchcase(family, pattern) for pattern in test):
        return "test"
    return "validation" if any(fnmatchcase(family, pattern) for pattern in validation) else "train"


__all__ = ["split_by_family"]
