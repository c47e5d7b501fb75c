"""Hashes that tell one run from another: equal for what is equal, different for any difference that counts."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import Examples, build_predictor

from hf_invwnn import LinearPredictor
from hf_invwnn.trainer.deepspeed import sync_fp32_master_weights
from hf_invwnn.trainer.fingerprint import dataset_hash, predictor_hash, sample_hash


def test_a_dataset_has_the_hash_of_its_examples(digits: Examples) -> None:
    """Not of the object, the file or the columns' order; the order of the examples counts."""
    first = dataset_hash(digits.part(0, 8))
    assert first == dataset_hash(digits.part(0, 8))
    assert first != dataset_hash(digits.part(1, 9))
    swapped = Examples(**{name: column[:8].flip(0) for name, column in digits.columns.items()})
    assert first != dataset_hash(swapped)
    stored = Dataset.from_dict({"labels": [1, 2, 3], "text": ["a", "b", "c"]})
    reordered = Dataset.from_dict({"text": ["a", "b", "c"], "labels": [1, 2, 3]})
    assert dataset_hash(stored) == dataset_hash(reordered) == dataset_hash(stored.select([0, 1, 2]))
    assert dataset_hash(stored) != dataset_hash(stored.select([0, 2, 1]))
    assert dataset_hash(stored) == dataset_hash(stored.with_transform(lambda batch: {"labels": [9] * 3}))


def test_a_random_augmentation_does_not_change_the_hash_or_the_generators(digits: Examples) -> None:
    class Noisy(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            noise = torch.randn(1) + random.random() + float(np.random.rand())
            return {"pixel_values": digits[index]["pixel_values"] + noise}

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = dataset_hash(Noisy())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    torch.rand(3)
    assert dataset_hash(Noisy()) == first


def test_a_stream_has_no_hash() -> None:
    assert dataset_hash(iter([])) is None


def test_a_predictor_has_the_hash_of_its_weights_and_settings() -> None:
    assert predictor_hash(build_predictor()) == predictor_hash(build_predictor())
    different = [
        build_predictor(),
        build_predictor(seed=1),
        build_predictor(trajectory_scale="weight"),
        LinearPredictor(),
        LinearPredictor(0.5),
        LinearPredictor({"conv": 0.5, "linear": 0.5, "bias": 0.4}),
    ]
    assert len({predictor_hash(predictor) for predictor in different}) == len(different)


def test_a_sample_has_the_hash_of_some_rows_and_of_the_length(digits: Examples) -> None:
    """Enough to tell two data sets of a run apart, without reading a million rows."""
    assert sample_hash(digits.part(0, 500)) == sample_hash(digits.part(0, 500))
    different = [digits.part(0, 500), digits.part(1, 501), digits.part(0, 499)]
    assert len({sample_hash(dataset) for dataset in different}) == len(different)
    read: list[int] = []

    class Counted(Examples):
        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            read.append(index)
            return super().__getitem__(index)

    sample_hash(Counted(**digits.columns))
    assert len(read) == 64
    assert (read[0], read[-1]) == (0, len(digits) - 1)


def test_masters_are_told_only_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed marks the parameters that it keeps in float32 elsewhere; without it nothing is imported or done."""
    plain, kept = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.full((2,), 3.0).bfloat16())
    sync_fp32_master_weights({"plain": plain})
    told: dict[int, torch.Tensor] = {}

    class Utils:
        @staticmethod
        def safe_set_full_fp32_param(parameter: torch.Tensor, value: torch.Tensor) -> None:
            told[id(parameter)] = value

    monkeypatch.setitem(__import__("sys").modules, "deepspeed", Utils)
    monkeypatch.setitem(__import__("sys").modules, "deepspeed.utils", Utils)
    kept._hp_mapping = object()
    sync_fp32_master_weights({"plain": plain, "kept": kept})
    assert list(told) == [id(kept)]
    assert told[id(kept)].dtype == torch.float32
    assert torch.equal(told[id(kept)], torch.full((2,), 3.0))
