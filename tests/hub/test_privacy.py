"""Nothing that is uploaded holds a forget example, an index, a file name, a trajectory or a checkpoint."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from finished_runs import FORGET, MARK
from safetensors.torch import save_file

from hf_invwnn.hub.allowlist import model_files
from hf_invwnn.image_classification import ImageTensors
from hf_invwnn.scenarios import UnlearningSplits


PUSH = """
from pathlib import Path
from huggingface_hub import HfApi
from hf_invwnn.cli import main
found["code"] = main(["push", folder, name])
api = HfApi()
found["files"] = api.list_repo_files(name)
for path in found["files"]:
    copy = Path(copies, path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(Path(api.hf_hub_download(name, path)).read_bytes())

found["asked"] = main(["push", whole, other, "--publish-indices"])
found["indices"] = json.load(open(api.hf_hub_download(other, "forget_indices.json")))["forget_indices"]
found["taken back"] = main(["push", whole, other])
found["files after"] = api.list_repo_files(other)
"""
SECRET = b"SECRET-7f3a9c"


@pytest.fixture
def marked_run(finished_run: Path, tmp_path: Path) -> Path:
    """The run with marked things planted wherever somebody could leave them."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    noise = torch.frombuffer(bytearray(SECRET * 16), dtype=torch.uint8)
    for place in ("", "checkpoint-7", "unet", "data", "trajectory", "_private", "logs"):
        folder = run / place
        folder.mkdir(exist_ok=True)
        for name in ("trajectory.safetensors", "unlearning_state.safetensors", "optimizer.pt", "notes.md", ".env"):
            (folder / name).write_bytes(SECRET)
        save_file({"secret": noise}, folder / "snapshot-00001-of-00002.safetensors")
    for name in (
        "forget_indices.json",
        "splits.json",
        "per_example.parquet",
        "training_args.bin",
        "pytorch_model.bin",
    ):
        (run / name).write_bytes(SECRET)
    (run / "data" / "train-00000-of-00001.parquet").write_bytes(SECRET)
    (run / "checkpoint-7" / "model.safetensors").write_bytes(SECRET)
    record = json.loads((run / "unlearning.json").read_text())
    record["forget_indices"], record["forget"]["indices"] = list(FORGET), list(FORGET)
    record["note"] = SECRET.decode()
    record["metrics"]["after"]["of"] = record["counts"]["of"] = record["history"][0]["of"] = list(FORGET)
    record["stopping"]["of"] = record["model"]["of"] = record["cost"]["of"] = SECRET.decode()
    record["arguments"]["output_dir"] = str(run)
    (run / "unlearning.json").write_text(json.dumps(record))
    return run


def what_must_not_be_seen(run: Path, splits: UnlearningSplits) -> dict[str, bytes]:
    """Everything private, in each form it lies in: as a file, as pixels, as names and as lists."""
    secret = {"mark": MARK.encode(), "planted": SECRET, "indices": ", ".join(map(str, FORGET)).encode()}
    secret["indices in lines"] = json.dumps(list(FORGET), indent=2)[2:-2].encode()
    secret["indices without spaces"] = ",".join(map(str, FORGET)).encode()
    secret["indices as numbers"] = np.array(FORGET, dtype="<i8").tobytes()
    for row in splits.forget:
        png = io.BytesIO()
        row["image"].save(png, format="PNG")
        secret[f"image {row['file_name']}"] = png.getvalue()[40:80]
        secret[f"pixels {row['file_name']}"] = np.asarray(row["image"]).tobytes()
    salt = (run / "_private" / "salt").read_bytes()
    return {**secret, "salt": salt, "machine path": str(run.parent).encode()}


def opened(body: bytes) -> list[bytes]:
    """A request, and the files and samples of files that are in it as base64."""
    found = [body]
    for encoded in re.findall(rb'"(?:content|sample)": ?"([A-Za-z0-9+/=]*)"', body):
        found.append(base64.b64decode(encoded))
    return found


def test_no_marked_byte_is_uploaded_and_indices_only_when_asked_for(
    hub, client, marked_run, marked_splits, finished_run, tmp_path
) -> None:
    """Searched in what the repository holds, and, on our own server, in every byte that was sent at all."""
    if hub.hub is not None:
        hub.hub.received.clear()
    name, other, copies = hub.name(), hub.name(), tmp_path / "copies"
    places = {"folder": str(marked_run), "whole": str(finished_run), "copies": str(copies)}
    found = client(PUSH, name=name, other=other, **places)
    assert found["code"] == 0, found["output"]
    assert set(found["files"]) == {
        ".gitattributes",
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "unlearning.json",
    }
    sent = [path.read_bytes() for path in copies.rglob("*") if path.is_file()]
    if hub.hub is not None:
        received = [body for path, body in hub.hub.received if other not in path]
        sent += [part for body in received for part in opened(body)]
        assert any(len(body) > 5000 for body in received), "the weights were not looked at"
    everything = b"\n".join(sent)
    secrets = what_must_not_be_seen(marked_run, marked_splits)
    assert [what for what, secret in secrets.items() if secret in everything] == []

    assert (found["asked"], found["taken back"]) == (0, 0)
    assert found["indices"] == list(FORGET), "with --publish-indices"
    assert "forget_indices.json" not in found["files after"], "and without it later"


def test_what_the_search_looks_for_is_really_there(marked_run, marked_splits) -> None:
    """A search that could not find the secrets on the disk would prove nothing by not finding them on the Hub."""
    kept = [path.read_bytes() for path in (marked_run / "_private").rglob("*") if path.is_file()]
    kept += [path.read_bytes() for path in marked_run.glob("*") if path.is_file()]
    everything = b"\n".join(kept)
    secrets = what_must_not_be_seen(marked_run, marked_splits)
    for what in ("mark", "planted", "indices", "salt", f"image {MARK}-0003.png", f"image {MARK}-0071.png"):
        assert secrets[what] in everything, what


@pytest.mark.parametrize(
    "name",
    [
        *("training_args.bin", "optimizer.pt", "rng_state.pth", "trainer_state.json", "results.json", "curves.png"),
        *(
            "unlearning_state.safetensors",
            "trajectory.safetensors",
            "per_example.parquet",
            "splits.json",
            "data.arrow",
        ),
        *("model.safetensors.bak", "model-1-of-2.safetensors", "xmodel.safetensors", "modeling_mine.py", ".env"),
        *("_private/config.json", "checkpoint-3/model.safetensors", "splits/config.json"),
    ],
)
def test_a_file_that_is_not_named_in_the_allow_list_is_no_model_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "model_index.json").write_text('{"_private": ["x", "y"], "checkpoint-3": ["x", "y"], "splits": 1}')
    assert model_files(tmp_path) == ["model_index.json"]


def test_the_folder_of_a_component_is_not_followed_out_of_the_run(tmp_path: Path) -> None:
    """A link that is called like a component may point anywhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "unet").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run" / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DModel"]}')
    assert model_files(tmp_path / "run") == ["model_index.json"]


def test_the_marked_examples_reach_the_model(marked_splits) -> None:
    """So that the run did see what is searched for."""
    from transformers import ViTImageProcessorPil

    tensors = ImageTensors.from_dataset(marked_splits.forget, ViTImageProcessorPil(size={"height": 8, "width": 8}))
    assert len(tensors) == len(FORGET)
