"""`unlearning.json` agrees with the files and the forget set of its run, and holds nothing that is private."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from finished_runs import FORGET

from hf_invwnn.audit.private import private_hashes
from hf_invwnn.audit.record import RECORD_KEYS, make_record, publishable, read_record, recorded_arguments, write_record


EMPTY: dict[str, Any] = {name: {} for name in ("arguments", "forget", "counts", "stopping", "metrics", "cost")}


def test_the_record_of_a_run_agrees_with_its_files_and_its_forget_set(finished_run: Path) -> None:
    record = read_record(finished_run)
    assert record["forget"]["count"] == len(FORGET)
    as_integers = b"".join(struct.pack("<q", row) for row in FORGET)
    assert record["forget"]["sha256"] == hashlib.sha256(as_integers).hexdigest()
    assert set(record["files"]) == {"config.json", "model.safetensors", "preprocessor_config.json"}
    for name, digest in record["files"].items():
        assert hashlib.sha256((finished_run / name).read_bytes()).hexdigest() == digest
    for name, digest in private_hashes(finished_run).items():
        assert hashlib.sha256((finished_run / "_private" / name).read_bytes()).hexdigest() == digest
    assert record["method"] == "InvWNN" and record["arguments"]["num_rewinds"] == 2
    assert record["cost"]["forget_steps"] == 4, "two rewinds of three snapshots are two times two epochs of one batch"
    assert record["counts"] == {"train": 120, "forget": 6, "retain": 114, "validation": 0, "test": 80}
    assert {"python", "torch", "transformers", "hf-invwnn"} <= set(record["versions"])


# ---- Writing ----


def test_folders_and_accounts_are_not_recorded() -> None:
    private = {"output_dir": "/home/ada", "hub_token": "hf_x", "run_name": "ada", "deepspeed": "/home/ada/zero.json"}
    assert recorded_arguments({**private, "seed": 1, "optim": object()}) == {
        "deepspeed": "zero.json",
        "seed": 1,
        "optim": "object",
    }


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"metrics": {"later": {}}}, "`metrics` may have the keys original, unlearned, retrained, got later"),
        ({"metrics": {"oracle": {}}}, "`metrics` may have the keys"),
        ({"forget": {"indices": [1]}}, "`forget` may hold count, sha256, scenario, seed, got indices"),
    ],
)
def test_a_key_that_a_record_does_not_have_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_record(method="InvWNN", files={}, **{**EMPTY, **change})


def test_only_known_keys_are_publishable_and_among_metrics_only_numbers(finished_run: Path) -> None:
    record = read_record(finished_run)
    private = {"indices": list(FORGET), "name": "ada"}
    record = {**record, **private, "metrics": {**record["metrics"], "unlearned": {"UA": 1.0, **private}}}
    record["forget"] = {**record["forget"], **private, "seed": 3}
    published = publishable(record)
    assert tuple(published) == RECORD_KEYS
    assert published["metrics"]["unlearned"] == {"UA": 1.0}
    assert "indices" not in published["forget"] and published["forget"]["seed"] is None


# ---- Reading ----


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record(method="InvWNN", files={}, **{**EMPTY, "metrics": {"unlearned": {"UA": 75.0}}})
    write_record(record, tmp_path)
    assert read_record(tmp_path) == json.loads(json.dumps(record))
    assert record["metrics"] == {"original": None, "unlearned": {"UA": 75.0}, "retrained": None}
    assert [path.name for path in tmp_path.iterdir()] == ["unlearning.json"]


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
    message = r"unlearning.json` has format_version 1, this version of hf-invwnn reads 2; .* wrote it \(0.1.0\)"
    with pytest.raises(ValueError, match=message):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "unlearning.json` cannot be read as JSON"),
        ("[]", "must hold a JSON object, got `list`"),
        ("{}", "has format_version None"),
        ('{"format_version": "2"}', "has format_version '2'"),
        ('{"format_version": 9, "versions": ["0.9"]}', r"has format_version 9, .* wrote it \(unknown\)"),
        ('{"format_version": 2}', "lacks method, arguments, .*; it was truncated or edited"),
    ],
)
def test_a_damaged_record_is_refused(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "unlearning.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_record(tmp_path)


def test_a_folder_without_a_record_is_not_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a finished run: it has no unlearning.json"):
        read_record(tmp_path)
