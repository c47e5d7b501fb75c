"""Hashes of data sets, predictors and weights, by which a run is recognised."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from datasets import Dataset


# Settings that say where a predictor was loaded from, on which its predictions do not depend.
_NOT_SETTINGS = ("_name_or_path", "transformers_version", "architectures", "dtype")
# Rows that are hashed at once.
_BATCH = 10_000
# Types of attributes that identify a custom predictor; the `repr` of others holds a memory address.
_HASHED = (str, int, float, dict, list, tuple, np.ndarray, torch.Tensor)


def predictor_hash(predictor: Any) -> str:
    """SHA-256 of a predictor: of its weights and configuration, or of the attributes of a custom one."""
    digest = hashlib.sha256(type(predictor).__name__.encode())
    if isinstance(predictor, torch.nn.Module):
        config: Any = getattr(predictor, "config", None)
        settings = {} if config is None else config.to_dict()
        digest.update(str(sorted(item for item in settings.items() if item[0] not in _NOT_SETTINGS)).encode())
        digest.update(weights_hash(predictor).encode())
    else:
        _update(digest, {name: value for name, value in vars(predictor).items() if isinstance(value, _HASHED)})
    return digest.hexdigest()


def weights_hash(network: torch.nn.Module) -> str:
    """SHA-256 of names and bytes of all weights, in the order of the names, as in their safetensors file."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def dataset_hash(dataset: Any) -> str | None:
    """
    SHA-256 of the examples of a data set, in their order; `None` for one without a length.

    Every row is read, because the fingerprint that `datasets` keeps can be random and differ between two loads of the
    same data. A [`~datasets.Dataset`] is hashed as stored. The examples of another data set are read with seeded
    generators, so that a random augmentation gives the same each time; the state of the generators is restored.
    """
    if not isinstance(dataset, Sized):
        return None
    digest = hashlib.sha256(str(len(dataset)).encode())
    if isinstance(dataset, Dataset):
        return _hash_of_columns(digest, dataset)
    with seeded():
        for index in range(len(dataset)):
            _update(digest, dataset[index])  # type: ignore[index]
    return digest.hexdigest()


def _hash_of_columns(digest: Any, dataset: Dataset) -> str:
    """
    Hashes a data set batch by batch and column by column. A batch is written in one piece, so that neither the pieces
    that a file is stored in nor a selection of rows changes the hash.
    """
    import pyarrow as pa

    names = sorted(dataset.column_names)
    digest.update(repr([(name, str(dataset.features[name])) for name in names]).encode())
    stored = dataset.with_format("arrow")
    for table in stored.iter(batch_size=_BATCH):
        whole = table.select(names).combine_chunks().replace_schema_metadata(None)
        # Taking all rows copies buffers that begin elsewhere, and the bits beyond the end of a mask.
        rows = whole.take(pa.array(np.arange(len(whole))))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows.combine_chunks())
        digest.update(sink.getvalue())
    return str(digest.hexdigest())


def sample_hash(dataset: Any, rows: int = 64) -> str | None:
    """SHA-256 of the length of a data set and of some of its rows, evenly spread; `None` for one without a length."""
    if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        return None
    digest = hashlib.sha256(str(len(dataset)).encode())
    stored = dataset.with_format(None) if isinstance(dataset, Dataset) else dataset
    with seeded():
        for index in sorted({round(i * (len(dataset) - 1) / max(1, rows - 1)) for i in range(rows)}):
            if index < len(dataset):
                _update(digest, stored[index])
    return digest.hexdigest()


def tensors_hash(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 of the names, types, shapes and bytes of tensors, in their order."""
    digest = hashlib.sha256()
    for name, value in tensors:
        digest.update(name.encode())
        _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    """Adds a value of any common type to a hash; different values add different bytes."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().contiguous()
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            digest.update(f"{name}:".encode())
            _update(digest, value[name])
    elif isinstance(value, (list, tuple)):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            _update(digest, item)
    elif hasattr(value, "tobytes"):
        digest.update(f"{getattr(value, 'size', '')}{getattr(value, 'mode', '')}".encode() + value.tobytes())
    else:
        digest.update(f"{type(value).__name__}:{value!r};".encode())


@contextmanager
def seeded() -> Iterator[None]:
    """Seeds the generators that augmentations draw from, and restores their state afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


__all__ = ["dataset_hash", "predictor_hash", "sample_hash", "seeded", "tensors_hash", "weights_hash"]
