"""Small files are written atomically, and a file that cannot be read is named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from hf_invwnn.files import (
    atomic_file,
    atomic_write,
    read_json_object,
    read_yaml_mapping,
    sha256,
    sha256_of_files,
    write_json,
)


# ---- Writing ----


@pytest.mark.parametrize(("content", "expected"), [("Grüße\n", "Grüße\n".encode()), (b"\x00\xff", b"\x00\xff")])
def test_text_and_bytes_replace_a_file(content: str | bytes, expected: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old and longer than the new content")
    atomic_write(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "no temporary file is left"


@pytest.mark.parametrize("function", ["pathlib.Path.write_bytes", "os.replace"])
def test_the_old_file_stays_if_writing_fails(function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")

    def fail(path: Path | str, *arguments: object) -> None:
        if function.endswith("write_bytes"):
            os.close(os.open(path, os.O_CREAT))  # a full disk leaves an empty file
        raise OSError("No space left on device")

    with monkeypatch.context() as patches:
        patches.setattr(function, fail)
        with pytest.raises(OSError, match="No space left"):
            atomic_write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_atomic_file_is_renamed_when_it_is_complete_and_removed_after_an_error(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with atomic_file(tmp_path / "file.json") as temporary:
            temporary.write_text(content)
            assert temporary == tmp_path / "file.json.tmp", "beside it, under another ending"
        assert (tmp_path / "file.json").read_text() == content
    with pytest.raises(RuntimeError, match="half-way"), atomic_file(tmp_path / "file.json") as temporary:
        temporary.write_text("part")
        raise RuntimeError("half-way")
    assert (tmp_path / "file.json").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_a_value_that_is_not_json_does_not_touch_the_file(tmp_path: Path) -> None:
    write_json({"UA": 1.0}, tmp_path / "file.json")
    with pytest.raises(TypeError, match="of type object cannot be written as JSON"):
        write_json({"UA": object()}, tmp_path / "file.json")
    assert read_json_object(tmp_path / "file.json") == {"UA": 1.0}


# ---- Reading ----


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = {"model": {"UA": 75.25, "seconds": None}, "history": [1, "é", True]}
    write_json(value, tmp_path / "file.json")
    assert read_json_object(tmp_path / "file.json") == value
    assert (tmp_path / "file.json").read_text().startswith('{\n  "model": {\n')


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"{", r"file.json` cannot be read as JSON: "),
        (b"", r"file.json` cannot be read as JSON: "),
        (b"\xff\xfe", r"file.json` cannot be read as JSON: "),
        (b"[1]", r"file.json` must hold a JSON object, got `list`"),
        (b'"text"', r"must hold a JSON object, got `str`"),
        (b"null", r"must hold a JSON object, got `NoneType`"),
    ],
)
def test_a_file_without_a_json_object_is_named(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        read_json_object(tmp_path / "file.json")


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"file\.json"):
        read_json_object(tmp_path / "file.json")


def test_yaml_is_read_as_a_mapping_and_an_empty_file_as_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("# settings\nseed: 3\ndata: {dataset: digits}\n")
    assert read_yaml_mapping(tmp_path / "file.yaml") == {"seed": 3, "data": {"dataset": "digits"}}
    (tmp_path / "file.yaml").write_text("# nothing\n")
    assert read_yaml_mapping(tmp_path / "file.yaml") == {}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"a: [", r"`settings`: .*file.yaml is not YAML: "),
        (b"\xff\xfe\xfa", r"`settings`: .*file.yaml is not YAML: "),
        (b"- 1\n", r"`settings`: .*file.yaml must hold `name: value` lines"),
        (b"text", r"`settings`: .*file.yaml must hold `name: value` lines"),
        (b"!!python/object/apply:os.getcwd []", r"`settings`: .*file.yaml is not YAML: "),
    ],
)
def test_a_file_without_a_yaml_mapping_is_named_with_its_argument(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        read_yaml_mapping(tmp_path / "file.yaml", "settings")


def test_a_missing_yaml_file_is_named_with_its_argument(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`config`: there is no file '.*file\.yaml'"):
        read_yaml_mapping(tmp_path / "file.yaml")


# ---- Hashes ----


def test_hashes_are_those_of_the_whole_content(tmp_path: Path) -> None:
    """Also of a file that is larger than a block."""
    contents = {"empty": b"", "large": bytes(range(256)) * 5000}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert sha256_of_files(tmp_path, contents) == expected
    assert sha256(tmp_path / "large") == expected["large"]
