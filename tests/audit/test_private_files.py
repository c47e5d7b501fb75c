"""What of a run's folder a push takes, and what only its owner can read."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from helpers import Examples, build_model, build_unlearner

from hf_invwnn.audit.private import make_private_folder
from hf_invwnn.audit.publish import run_contents
from hf_invwnn.hub.contents import check_loadable


def test_only_the_owner_can_read_private_files(finished_run: Path, tmp_path: Path) -> None:
    for path in [finished_run / "_private", *(finished_run / "_private").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    run = tmp_path / "run"
    (run / "_private").mkdir(parents=True, mode=0o755)
    (run / "_private").chmod(0o755)
    make_private_folder(run)
    assert stat.S_IMODE((run / "_private").stat().st_mode) == 0o700


def test_a_link_in_place_of_the_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "_private").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="must be a folder of the run, not a link"):
        make_private_folder(tmp_path / "run")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_splits_are_saved_for_their_owner_alone(marked_splits: Any, tmp_path: Path) -> None:
    marked_splits.save_to_disk(tmp_path / "splits")
    for path in [tmp_path / "splits", *(tmp_path / "splits").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_pickle_lies_beside_a_saved_model(tmp_path: Path, noisy: Examples) -> None:
    """`training_args.bin`, which the Trainer writes, is one, and holds what the arguments hold."""
    unlearner = build_unlearner(build_model("vit"), noisy, output_dir=tmp_path, hub_token="hf_secret_4711")
    unlearner.train()
    unlearner.save_model()
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".pth")]
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"hf_secret_4711" not in path.read_bytes(), path


def test_what_is_not_in_the_record_is_not_pushed_and_links_are_not_followed(
    finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for name in ("modeling_mine.py", "video_preprocessor_config.json", "spm.model", "entity_vocab.json"):
        (run / name).write_text("{}")
    (tmp_path / "secret.json").write_text('{"secret": 1}')
    (run / "generation_config.json").symlink_to(tmp_path / "secret.json")
    contents = run_contents(run, "ada/forgotten")
    assert set(contents.files) == {"config.json", "model.safetensors", "preprocessor_config.json", "unlearning.json"}
    assert {"modeling_mine.py", "video_preprocessor_config.json", "spm.model", "entity_vocab.json",
            "generation_config.json", "_private/", "checkpoint-2/"} <= set(contents.left_out)  # fmt: skip
    (run / "model.safetensors").rename(tmp_path / "weights")
    (run / "model.safetensors").symlink_to(tmp_path / "weights")
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        run_contents(run, "ada/forgotten")


def test_a_run_folder_that_is_a_link_is_pushed(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(finished_run)
    assert "model.safetensors" in run_contents(tmp_path / "link", "ada/forgotten").files


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            "config.json",
            {"auto_map": {"AutoModel": "modeling_mine.Mine"}},
            "has an `auto_map`, so the model loads only",
        ),
        ("tokenizer_config.json", {"tokenizer_class": "T5Tokenizer"}, "would be uploaded without a vocabulary"),
    ],
)
def test_what_would_not_load_is_refused(
    name: str, content: dict, match: str, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    path = run / name
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **content}))
    record = json.loads((run / "unlearning.json").read_text())
    record["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (run / "unlearning.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=match):
        run_contents(run, "ada/forgotten")


def test_only_tokenizers_that_need_a_vocabulary_are_refused_without_one(tmp_path: Path) -> None:
    """Bytes and code points have none; of a pipeline, the tokenizer's own folder is looked at."""

    def check(name: str, tokenizer_class: str, *others: str) -> None:
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"tokenizer_class": tokenizer_class}))
        check_loadable(tmp_path, {name: path, **dict.fromkeys(others, path)})

    check("tokenizer_config.json", "ByT5Tokenizer")
    check("tokenizer/tokenizer_config.json", "CLIPTokenizer", "tokenizer/vocab.json", "tokenizer/merges.txt")
    with pytest.raises(ValueError, match=r"tokenizer/tokenizer_config\.json would be uploaded without a vocabulary"):
        check("tokenizer/tokenizer_config.json", "CLIPTokenizer", "vocab.json")


@pytest.mark.parametrize("outcome", ["unchanged", "target not reached"])
def test_a_run_that_fell_short_is_pushed_only_if_that_is_said(
    outcome: str, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    record = json.loads((run / "unlearning.json").read_text())
    (run / "unlearning.json").write_text(json.dumps({**record, "outcome": outcome}))
    with pytest.raises(ValueError, match=f"the outcome of the run is '{outcome}'"):
        run_contents(run, "ada/forgotten")
    card = run_contents(run, "ada/forgotten", allow_unfinished=True).card.text
    assert {"unchanged": "It was not changed", "target not reached": "It fell short of its target"}[outcome] in card


def test_nothing_published_of_the_finished_run_is_private(finished_run: Path) -> None:
    contents = run_contents(finished_run, "ada/forgotten")
    parts = [part if isinstance(part, bytes) else part.read_bytes() for part in contents.files.values()]
    text = "\n".join([str(contents.card), *(part.decode(errors="replace") for part in parts)])
    assert '"seed"' not in text and "sha256_of" not in text
    assert str(finished_run) not in text
    assert (finished_run / "_private" / "salt").read_text() not in text
