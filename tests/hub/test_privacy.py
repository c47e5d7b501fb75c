"""No upload contains a forget example, an index, a file name, a trajectory or a checkpoint."""

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
from hf_invwnn.cli.main import main
results["code"] = main(["push", folder, name])
api = HfApi()
results["files"] = api.list_repo_files(name)
for path in results["files"]:
    copy = Path(copies, path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(Path(api.hf_hub_download(name, path)).read_bytes())

results["with indices"] = main(["push", whole, other, "--publish-indices"])
results["indices"] = json.load(open(api.hf_hub_download(other, "forget_indices.json")))["forget_indices"]
results["without indices"] = main(["push", whole, other])
results["files after"] = api.list_repo_files(other)
"""
SECRET = b"SECRET-7f3a9c"


@pytest.fixture
def marked_run(finished_run: Path, tmp_path: Path) -> Path:
    """The run with marked files and marked record entries planted wherever a user could leave them."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    noise = torch.frombuffer(bytearray(SECRET * 16), dtype=torch.uint8)
    for subfolder in ("", "checkpoint-7", "unet", "data", "trajectory", "_private", "logs"):
        folder = run / subfolder
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
    record["stopping"]["of"] = record["model"]["of"] = SECRET.decode()
    record["stopping"]["rules"] = [f"a rule about {run.parent}/alice.csv"]
    record["predictor"] = {"name": SECRET.decode(), "config": {"_name_or_path": str(run)}, "sha256": None}
    record["versions"]["of"] = record["method"] = f"<{SECRET.decode()}>"
    record["arguments"]["output_dir"] = str(run)
    (run / "unlearning.json").write_text(json.dumps(record))
    return run


def secrets_of(run: Path, splits: UnlearningSplits) -> dict[str, bytes]:
    """Everything private, in each of its forms: files, pixels, names and lists."""
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


def decoded(body: bytes) -> list[bytes]:
    """A request, and the files and samples of files that it holds as base64."""
    parts = [body]
    for encoded in re.findall(rb'"(?:content|sample)": ?"([A-Za-z0-9+/=]*)"', body):
        parts.append(base64.b64decode(encoded))
    return parts


@pytest.mark.slow
def test_no_marked_byte_is_uploaded_and_indices_only_on_request(
    hub, client, marked_run, marked_splits, finished_run, tmp_path
) -> None:
    """The search covers the repository and, on our own server, the body of every request."""
    if hub.hub is not None:
        hub.hub.received.clear()
    name, other, copies = hub.name(), hub.name(), tmp_path / "copies"
    folders = {"folder": str(marked_run), "whole": str(finished_run), "copies": str(copies)}
    results = client(PUSH, name=name, other=other, **folders)
    assert results["code"] == 0, results["output"]
    assert set(results["files"]) == {
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
        sent += [part for body in received for part in decoded(body)]
        assert any(len(body) > 5000 for body in received), "the search did not cover the weights"
    everything = b"\n".join(sent)
    secrets = secrets_of(marked_run, marked_splits)
    assert [kind for kind, secret in secrets.items() if secret in everything] == []

    assert (results["with indices"], results["without indices"]) == (0, 0)
    assert results["indices"] == list(FORGET), "with --publish-indices"
    assert "forget_indices.json" not in results["files after"], "a later push without it deletes them"


def test_the_search_finds_the_secrets_on_the_disk(marked_run, marked_splits) -> None:
    """Otherwise the search of the uploads would prove nothing."""
    contents = [path.read_bytes() for path in (marked_run / "_private").rglob("*") if path.is_file()]
    contents += [path.read_bytes() for path in marked_run.glob("*") if path.is_file()]
    everything = b"\n".join(contents)
    secrets = secrets_of(marked_run, marked_splits)
    for kind in ("mark", "planted", "indices", "salt", f"image {MARK}-0003.png", f"image {MARK}-0071.png"):
        assert secrets[kind] in everything, kind


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
def test_a_file_that_the_allow_list_does_not_name_is_not_a_model_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "model_index.json").write_text('{"_private": ["x", "y"], "checkpoint-3": ["x", "y"], "splits": 1}')
    assert model_files(tmp_path) == ["model_index.json"]


def test_a_link_in_place_of_a_component_is_not_followed(tmp_path: Path) -> None:
    """It may point outside the run."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "unet").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run" / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DModel"]}')
    assert model_files(tmp_path / "run") == ["model_index.json"]


def test_the_marked_examples_are_inputs_of_the_run(marked_splits) -> None:
    """Otherwise the run could not leak them."""
    from transformers import ViTImageProcessorPil

    tensors = ImageTensors.from_dataset(marked_splits.forget, ViTImageProcessorPil(size={"height": 8, "width": 8}))
    assert len(tensors) == len(FORGET)
