"""Checks of labels and token ids by columns: a million examples take seconds, and no image is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from torch import Tensor, nn

from .heads import CLASSES, NEXT_TOKEN, TOKEN_CLASSES, TOKENS, head_of


LABEL_COLUMNS = ("labels", "label", "label_ids")
IGNORED_LABEL = -100
_BATCH = 50_000
# Of a data set whose labels are not stored as a column, at most so many examples are read.
_READ = 10_000


def check_labels(name: str, dataset: Any, model: nn.Module) -> None:
    """
    Checks that every label of a data set is one that the model has, and every token id one that it knows.

    Args:
        name (`str`): The argument that the data set was passed as, for errors.
        dataset (`Dataset`): The examples. Of one without a length nothing is read.
        model (`nn.Module`): The model; labels of a head of unknown kind are not checked.

    Raises:
        ValueError: A label is missing, a text, a float, a list or not a class of the model, or a token id is not in
            its vocabulary; the message has its value and row.
    """
    if not hasattr(dataset, "__len__") or not len(dataset):
        return
    head, config = head_of(model), getattr(model, "config", None)
    classes = getattr(config, "num_labels", None)
    words = _vocabulary(model)
    if head in (CLASSES, TOKEN_CLASSES) and classes:
        _check(name, "label", label_values(dataset), classes, head == TOKEN_CLASSES)
    if head in (NEXT_TOKEN, TOKENS) and words:
        _check(name, "label", label_values(dataset), words, nested=True)
    if words and "input_ids" in (_columns(dataset) or ()):
        _check(name, "token id", _arrow_values(dataset, "input_ids"), words, nested=True, ignored=None)


def label_values(dataset: Any) -> Iterator[tuple[int, Any]]:
    """
    The labels of a data set in parts: the row of the first of them, and an array of integers, or anything else that
    was found in their place. Nothing, if there are no labels.
    """
    columns = _columns(dataset)
    if columns is not None:
        column = next((name for name in LABEL_COLUMNS if name in columns), None)
        yield from _arrow_values(dataset, column) if column else ()
        return
    stored = next((getattr(dataset, name) for name in ("labels", "targets") if hasattr(dataset, name)), None)
    if isinstance(stored, (list, np.ndarray, Tensor)) and len(stored) == len(dataset):
        yield 0, np.asarray(stored) if not isinstance(stored, list) else _array(stored)
        return
    size = len(dataset)
    rows = range(size) if size <= _READ else np.unique(np.linspace(0, size - 1, _READ).astype(int)).tolist()
    for row in rows:
        example = dataset[row]
        if not isinstance(example, Mapping):
            return
        value = next((example[label] for label in LABEL_COLUMNS if label in example), _MISSING)
        if value is _MISSING:
            return
        yield row, value.numpy() if isinstance(value, Tensor) else _array(value)


_MISSING = object()


def _columns(dataset: Any) -> list[str] | None:
    return dataset.column_names if isinstance(dataset, Dataset) else None


def _arrow_values(dataset: Dataset, column: str) -> Iterator[tuple[int, Any]]:
    """The values of a column as arrays, without those of other columns and without a transform."""
    import pyarrow as pa

    first = 0
    for table in dataset.with_format("arrow").select_columns([column]).iter(batch_size=_BATCH):
        values = table.column(0).combine_chunks()
        lengths = None
        if values.null_count:
            yield first + int(np.flatnonzero(np.asarray(values.is_null()))[0]), None
            return
        while (
            pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or hasattr(values.type, "list_size")
        ):
            lengths, values = len(values), values.flatten()
        if values.null_count:
            yield first, None
            return
        numbers = values.to_numpy(zero_copy_only=False)
        yield first, numbers if lengths is None else _Nested(numbers)
        first += len(table)


class _Nested:
    """The values of lists, one after another."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


def _array(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return value
    return value if array.dtype == object else array


def _check(
    name: str,
    what: str,
    parts: Iterator[tuple[int, Any]],
    count: int,
    nested: bool,
    ignored: int | None = IGNORED_LABEL,
) -> None:
    limits = f"the model has {'the classes' if what == 'label' else 'token ids'} 0..{count - 1}"
    for first, part in parts:
        lists = isinstance(part, _Nested)
        values = part.values if lists else part
        if values is None or not isinstance(values, np.ndarray):
            found = "no value" if values is None else f"a {type(values).__name__}"
            raise ValueError(f"`{name}` has {found} as the {what} at index {first}, but {limits}.")
        if not np.issubdtype(values.dtype, np.integer):
            kind = "a text" if values.dtype.kind in "UOS" else f"a {values.dtype.name}"
            raise ValueError(
                f"`{name}` has {kind} as the {what} at index {first} ({values.flat[0]!r}), but {limits}; pass whole "
                "numbers."
            )
        if not nested and (lists or values.ndim > 1):
            raise ValueError(
                f"`{name}` has a list as the {what} at index {first}, but {limits}; pass one number per example, not "
                "a one-hot list."
            )
        wrong = (values < 0) | (values >= count)
        if ignored is not None:
            wrong &= values != ignored
        if wrong.any():
            position = int(np.flatnonzero(wrong.reshape(-1))[0])
            row = first if lists or values.ndim != 1 else first + position
            raise ValueError(f"`{name}` has the {what} {values.reshape(-1)[position]} at index {row}, but {limits}.")


def _vocabulary(model: Any) -> int | None:
    """Number of token embeddings; `None` for a model without."""
    embeddings = getattr(model, "get_input_embeddings", None)
    try:
        layer = embeddings() if callable(embeddings) else None
    except NotImplementedError:
        return None
    size = getattr(layer, "num_embeddings", None)
    return int(size) if isinstance(size, int) else None


def check_has_labels(method: str, dataset: Any, model: nn.Module) -> None:
    """
    Checks that a task has the class labels that a method needs.

    Raises:
        ValueError: The examples have no class label, or the model no number of classes.
    """
    if getattr(getattr(model, "config", None), "num_labels", 0) < 2:
        raise ValueError(
            f"`model`: {method} needs class labels, and the model has no `config.num_labels` of 2 or more."
        )
    names: Sequence[str] | Mapping[str, Any] | None = _columns(dataset)
    if names is None and hasattr(dataset, "__getitem__") and len(dataset):
        example = dataset[0]
        names = example if isinstance(example, Mapping) else None  # others become a batch in the collator
    if names is not None and not any(name in names for name in LABEL_COLUMNS):
        raise ValueError(
            f"`forget_dataset`: {method} needs class labels, and no column is one of {', '.join(LABEL_COLUMNS)}; "
            "neg_grad, task_vector and invwnn work without."
        )


__all__ = ["IGNORED_LABEL", "LABEL_COLUMNS", "check_has_labels", "check_labels", "label_values"]
