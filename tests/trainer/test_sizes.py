"""A million examples: labels and fingerprints are read by columns, without an image or a transform."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image, Value, concatenate_datasets
from helpers import Examples, build_model

from hf_invwnn.trainer.fingerprint import dataset_hash
from hf_invwnn.trainer.labels import check_labels, label_values


def a_million(wrong: int | None = None) -> Dataset:
    labels = np.arange(1_000_000) % 10
    if wrong is not None:
        labels[wrong] = 10
    return Dataset.from_dict({"labels": labels, "text": [f"example {row}" for row in range(1_000_000)]})


@pytest.mark.slow
def test_labels_and_hash_of_a_million_examples_take_seconds() -> None:
    """Example by example they did not finish in 240 seconds."""
    data, model = a_million(wrong=987_654), build_model("vit")
    began = time.monotonic()
    with pytest.raises(ValueError, match="has the label 10 at index 987654"):
        check_labels("forget_dataset", data, model)
    assert time.monotonic() - began < 20
    began = time.monotonic()
    first = dataset_hash(data)
    assert time.monotonic() - began < 20
    assert first == dataset_hash(a_million(wrong=987_654)) != dataset_hash(a_million())


def test_no_image_is_decoded_and_no_transform_runs() -> None:
    features = Features({"image": Image(), "labels": ClassLabel(num_classes=10)})
    broken = {"image": [{"bytes": b"no image", "path": None}] * 50, "labels": [3] * 50}

    def fail(batch: Any) -> Any:
        raise AssertionError("the transform ran")

    data = Dataset.from_dict(broken, features=features).with_transform(fail)
    check_labels("forget_dataset", data, build_model("vit"))
    assert len(str(dataset_hash(data))) == 64


class Stored(torch.utils.data.Dataset):
    """As those of torchvision: the labels are an attribute, and an example takes long."""

    def __init__(self, labels: Any, name: str) -> None:
        setattr(self, name, labels)
        self.size = len(labels)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("an example was read")


@pytest.mark.parametrize("name", ["labels", "targets"])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_stored_labels_are_checked_without_reading_an_example(name: str, kind: Callable[[Any], Any]) -> None:
    check_labels("forget_dataset", Stored(kind([0, 9, -100]), name), build_model("vit"))
    with pytest.raises(ValueError, match="has the label 12 at index 1"):
        check_labels("forget_dataset", Stored(kind([0, 12, 3]), name), build_model("vit"))


def test_of_other_large_data_sets_a_sample_is_read() -> None:
    read: list[int] = []

    class Large(Examples):
        def __len__(self) -> int:
            return 200_000

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            read.append(index)
            return {"labels": torch.tensor(1)}

    assert len(list(label_values(Large()))) == 10_000
    assert (read[0], read[-1]) == (0, 199_999)


def test_the_hash_is_that_of_the_content(tmp_path: Any) -> None:
    """Not of files, pieces, selections or views; every value, type and the order count."""
    columns = {"labels": list(range(40)), "text": [f"t{row}" if row % 7 else None for row in range(40)]}
    data = Dataset.from_dict(columns)
    expected = dataset_hash(data)
    data.save_to_disk(tmp_path / "data", num_shards=3)
    pieces = concatenate_datasets([Dataset.from_dict({k: v[:13] for k, v in columns.items()}),
                                   Dataset.from_dict({k: v[13:] for k, v in columns.items()})])  # fmt: skip
    longer = Dataset.from_dict({"labels": [99, *range(40), 98], "text": ["x", *columns["text"], "y"]})
    same = [
        Dataset.load_from_disk(tmp_path / "data"), pieces, longer.select(range(1, 41)),
        data.shuffle(seed=1).sort("labels"),
        longer.select(list(range(40, 0, -1))).select(list(range(39, -1, -1))), data.with_format("torch"),
        Dataset(pa.Table.from_batches(data.data.table.to_batches(max_chunksize=7))),
    ]  # fmt: skip
    assert {dataset_hash(other) for other in same} == {expected}
    different = [
        data.select(range(39)), data.select([1, 0, *range(2, 40)]), data.rename_column("text", "texts"),
        data.cast_column("labels", Value("int32")), data.map(lambda row: {"text": (row["text"] or "") + "!"}),
        Dataset.from_dict({**columns, "text": [text or "" for text in columns["text"]]}),
    ]  # fmt: skip
    hashes = {dataset_hash(other) for other in different}
    assert len(hashes) == len(different) and expected not in hashes
