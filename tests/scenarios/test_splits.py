"""The hash, the files and the public summary of the splits of an experiment."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest

from hf_invwnn.scenarios import (
    UnlearningSplits,
    class_removal,
    given_indices,
    hash_indices,
    label_noise,
)


PARTS = ("train", "forget", "retain", "validation", "test")


def edit(folder, **changes):
    """Changes entries of `splits.json`; `None` removes one."""
    file = folder / "splits.json"
    record = json.loads(file.read_text())
    for key, value in changes.items():
        del record[key]
        record |= {} if value is None else {key: value}
    file.write_text(json.dumps(record))


def test_the_hash_is_that_of_sorted_little_endian_int64(train, test):
    expected = hashlib.sha256(struct.pack("<3q", 3, 7, 150)).hexdigest()
    assert hash_indices([150, 3, 7]) == expected == given_indices(train, test, indices=[7, 150, 3]).sha256


def test_a_round_trip_keeps_everything(train, test, tmp_path):
    splits = label_noise(train, test, seed=3)
    splits.save_to_disk(tmp_path / "deep" / "splits")
    loaded = UnlearningSplits.load_from_disk(tmp_path / "deep" / "splits")
    for part in PARTS:
        assert getattr(loaded, part).features == getattr(splits, part).features
        assert getattr(loaded, part)[:] == getattr(splits, part)[:]
    for name in ("forget_indices", "seed", "scenario", "label_column", "settings", "sha256"):
        assert getattr(loaded, name) == getattr(splits, name)
    assert loaded.summary() == splits.summary()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["splits"]


def test_empty_validation_and_transforms_survive_the_disk(train, test, tmp_path):
    """`datasets` writes no file for an empty dataset and cannot save a transform; both must be saved all the same."""
    transformed = train.with_transform(lambda batch: {"pixels": batch["row"]})
    given_indices(transformed, test, indices=[1]).save_to_disk(tmp_path / "splits")
    loaded = UnlearningSplits.load_from_disk(tmp_path / "splits")
    assert len(loaded.validation) == 0 and loaded.validation.features == train.features
    assert loaded.train[:] == train[:]


def test_the_summary_holds_neither_indices_nor_their_hash_nor_the_seed_nor_the_name_of_a_class(train, test):
    splits = class_removal(train, test, label="owl")
    assert splits.summary() == {
        "scenario": "class_removal",
        "counts": {"train": 185, "forget": 50, "retain": 135, "validation": 15, "test": 45},
    }
    json.dumps(splits.summary())


def test_a_full_folder_is_not_overwritten_but_an_empty_one_is_used(train, test, tmp_path):
    splits = given_indices(train, test, indices=[1])
    (tmp_path / "mine").mkdir()
    splits.save_to_disk(tmp_path / "mine")
    with pytest.raises(FileExistsError, match=r"`path`.*mine' is not an empty folder"):
        splits.save_to_disk(tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match=r"`path`.*file'"):
        splits.save_to_disk(tmp_path / "file")


def test_a_save_that_fails_leaves_nothing(train, test, tmp_path, monkeypatch):
    monkeypatch.setattr("json.dumps", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        given_indices(train, test, indices=[1]).save_to_disk(tmp_path / "splits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"forget_indices": [1, 3]}, "forget_indices that do not match its sha256"),
        ({"sha256": "0" * 64}, "do not match its sha256 '0000"),
        ({"forget_indices": [1, 999]}, "forget_indices of splits.json.*must lie in 0..199, got 999"),
        ({"forget_indices": None}, r"splits.json in .* lacks \['forget_indices'\]"),
        ({"sha256": None}, r"lacks \['sha256'\]"),
        ({"format_version": 2}, "format_version 2, this version reads 1"),
        ({"counts": {"train": 200, "forget": 2, "retain": 198, "validation": 0, "test": 59}}, "counts"),
    ],
)
def test_a_tampered_record_is_refused(changes, match, train, test, tmp_path):
    given_indices(train, test, indices=[1, 2]).save_to_disk(tmp_path / "splits")
    edit(tmp_path / "splits", **changes)
    with pytest.raises(ValueError, match=match):
        UnlearningSplits.load_from_disk(tmp_path / "splits")


def test_missing_or_broken_parts_are_named(train, test, tmp_path):
    folder = tmp_path / "splits"
    with pytest.raises(FileNotFoundError, match=r"splits.json"):
        UnlearningSplits.load_from_disk(folder)
    given_indices(train, test, indices=[1]).save_to_disk(folder)
    (folder / "test").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"\['test'\] missing"):
        UnlearningSplits.load_from_disk(folder)
    (tmp_path / "elsewhere").rename(folder / "test")
    (folder / "splits.json").write_text("{")
    with pytest.raises(ValueError, match=r"splits.json` cannot be read as JSON"):
        UnlearningSplits.load_from_disk(folder)
    (folder / "splits.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object, got `list`"):
        UnlearningSplits.load_from_disk(folder)


def test_parts_that_do_not_fit_the_indices_are_refused(train, test):
    parts = {"train": train, "validation": test, "test": test, "seed": 0, "scenario": "mine"}
    with pytest.raises(ValueError, match=r"`forget` and `retain` must hold 1 and 199 examples.*got 2 and 199"):
        UnlearningSplits(**parts, forget=train.select([1, 2]), retain=train.select(range(1, 200)), forget_indices=(0,))
    with pytest.raises(ValueError, match="`forget_indices` must be sorted"):
        UnlearningSplits(
            **parts, forget=train.select([0, 1]), retain=train.select(range(2, 200)), forget_indices=(1, 0)
        )
