"""`unlearning.json` agrees with the files and the forget set of its run, and holds nothing that is private."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_runs import FORGET

from hf_invwnn.audit.private import private_hashes
from hf_invwnn.audit.record import (
    RECORD_KEYS,
    SCENARIO_NAMES,
    make_record,
    publishable,
    read_record,
    read_whole_record,
    write_record,
)
from hf_invwnn.audit.report import write_report
from hf_invwnn.audit.verify import verify_run
from hf_invwnn.scenarios import SCENARIOS


EMPTY: dict[str, Any] = {name: {} for name in ("arguments", "forget", "counts", "stopping", "metrics", "cost")}
EMPTY |= {"outcome": "reached", "method": "InvWNN", "files": {}}


def test_the_record_of_a_run_agrees_with_its_files_and_its_forget_set(finished_run: Path) -> None:
    record = read_record(finished_run)
    assert record["forget"]["count"] == len(FORGET)
    as_integers = b"indices:" + b"".join(struct.pack("<q", row) for row in FORGET)
    salt = bytes.fromhex((finished_run / "_private" / "salt").read_text())
    assert record["forget"]["commitment"] == hmac.new(salt, as_integers, hashlib.sha256).hexdigest()
    assert set(record["files"]) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    for name, digest in record["files"].items():
        assert hashlib.sha256((finished_run / name).read_bytes()).hexdigest() == digest
    for name, digest in private_hashes(finished_run).items():
        assert hashlib.sha256((finished_run / "_private" / name).read_bytes()).hexdigest() == digest
    assert record["method"] == "InvWNN" and record["arguments"]["num_rewinds"] == 2
    assert record["cost"]["forget_steps"] == 8, "two rewinds of three snapshots: two times two epochs of two batches"
    assert record["counts"] == {"train": 120, "forget": 12, "retain": 108, "validation": 0, "test": 80}
    assert {"python", "torch", "transformers", "hf-invwnn"} <= set(record["versions"])


# ---- Writing ----


def test_folders_and_accounts_are_not_recorded() -> None:
    private = {"output_dir": "/home/ada", "hub_token": "hf_x", "run_name": "ada", "trajectory_folder": "/home/ada"}
    record = make_record(**{**EMPTY, "arguments": {**private, "seed": 1, "optim": object()}})
    assert record["arguments"] == {"seed": 1, "optim": "object"}


def test_numbers_of_numpy_and_torch_are_numbers_and_nan_is_none() -> None:
    history = [{"ua": np.float32(50), "round": np.int64(1), "eval_forget_loss": torch.tensor(2.0), "x": math.nan}]
    record = make_record(**{**EMPTY, "history": history, "metrics": {"unlearned": {"UA": np.array(7.5)}}})
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["history"] == [{"ua": 50.0, "round": 1, "eval_forget_loss": 2.0, "x": None}]
    assert record["metrics"]["unlearned"] == {"UA": 7.5}


def test_the_scenarios_of_a_record_are_those_of_the_package() -> None:
    assert sorted(SCENARIO_NAMES) == sorted(SCENARIOS)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"metrics": {"later": {}}}, "`metrics` may have the keys original, unlearned, retrained, got later"),
        ({"metrics": {"oracle": {}}}, "`metrics` may have the keys"),
        ({"outcome": "done"}, "`outcome` must be one of unchanged, target not reached, .*, got 'done'"),
        ({"forget": {"indices": [1]}}, "`forget` may hold count, commitment, committed_to, scenario, got indices"),
    ],
)
def test_a_key_that_a_record_does_not_have_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_record(**{**EMPTY, **change})


def test_only_known_keys_are_publishable_and_among_metrics_only_numbers(finished_run: Path) -> None:
    record = read_record(finished_run)
    private = {"indices": list(FORGET), "name": "ada"}
    record = {**record, **private, "metrics": {**record["metrics"], "unlearned": {"UA": 1.0, **private}}}
    record["forget"] = {**record["forget"], **private, "seed": 3}
    record["arguments"] = {**record["arguments"], "seed": 3, "data_seed": 4}
    published = publishable(record)
    assert tuple(published) == tuple(RECORD_KEYS)
    assert published["metrics"]["unlearned"] == {"UA": 1.0}
    assert set(published["forget"]) == {"count", "commitment", "committed_to", "scenario"}
    assert not {"seed", "data_seed"} & set(published["arguments"])


# ---- Reading ----


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record(**{**EMPTY, "arguments": {"seed": 3}, "metrics": {"unlearned": {"UA": 75.0}}})
    write_record(record, tmp_path)
    assert read_whole_record(tmp_path) == json.loads(json.dumps(record))
    assert read_record(tmp_path) == publishable(record) != record
    assert record["metrics"] == {"original": None, "unlearned": {"UA": 75.0}, "retrained": None}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_private", "unlearning.json"]


def test_a_record_of_version_1_is_refused_with_the_version_that_can_read_it(
    finished_run: Path, tmp_path: Path
) -> None:
    """Version 1 has other names for the models and the rounds, so it cannot be read as if it were version 2."""
    record = read_record(finished_run)
    original, unlearned, retrained = (record["metrics"][name] for name in ("original", "unlearned", "retrained"))
    metrics = {"before": original, "after": unlearned, "oracle": retrained}
    cost = {**record["cost"], "rewinds": record["cost"]["rounds"]}
    old = {**record, "format_version": 1, "versions": {"hf-invwnn": "0.1.0"}, "metrics": metrics, "cost": cost}
    (tmp_path / "unlearning.json").write_text(json.dumps(old))
    message = r"unlearning.json` has format_version 1, this version of hf-invwnn reads 4; .* wrote it \(0.1.0\)"
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "unlearning.json` cannot be read as JSON"),
        ("[]", "must hold a JSON object, got `list`"),
        ("{}", "has format_version None"),
        ('{"format_version": "3"}', "has format_version '3'"),
        ('{"format_version": 2}', "has format_version 2"),
        ('{"format_version": NaN}', "NaN is not a number of JSON"),
        ('{"format_version": 4, "format_version": 4}', "the key 'format_version' occurs twice"),
        ('{"a": ' * 100000, "unlearning.json` cannot be read as JSON"),
        ('{"format_version": 9, "versions": ["0.9"]}', r"has format_version 9, .* wrote it \(unknown\)"),
        ('{"format_version": 4}', "lacks outcome, method, arguments, .*; it was truncated or edited"),
    ],
)
def test_a_damaged_record_is_refused(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "unlearning.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"history": "none"}, "its history is a str"),
        ({"history": [1]}, "an entry of history is not an object"),
        ({"metrics": []}, "its metrics is a list"),
        ({"metrics": {"unlearned": [1]}}, "its metrics of unlearned are a list"),
        ({"metrics": {"unlearned": {"UA": "high"}}}, "UA is 'high' and not a number"),
        ({"counts": {"forget": -1}}, "a count is negative"),
        ({"counts": None}, "its counts is a NoneType"),
        ({"files": {"model.safetensors": 1}}, "a hash in files is not a text"),
        ({"outcome": "excellent"}, "its outcome is 'excellent'"),
        ({"forget": {"count": "many"}}, "the size of the forget set is 'many'"),
        ({"arguments": None}, "its arguments is a NoneType"),
    ],
)
def test_an_entry_of_another_type_is_refused_by_name(change: dict[str, Any], match: str, tmp_path: Path) -> None:
    """In every command that reads a record."""
    write_record(make_record(**EMPTY), tmp_path)
    path = tmp_path / "unlearning.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for read in (read_record, verify_run, lambda run: write_report(run, tmp_path / "page.html")):
        with pytest.raises(ValueError, match=f"was edited: {match}"):
            read(tmp_path)


def test_a_folder_without_a_record_is_not_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a finished run: it has no unlearning.json"):
        read_record(tmp_path)
