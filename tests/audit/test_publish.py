"""A finished run as the contents of a repository: only its files, unchanged, and only what may be published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from finished_runs import FORGET

from hf_invwnn.audit.publish import pipeline_contents, run_contents
from hf_invwnn.audit.record import read_record


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_is_published_with_its_model_its_record_and_what_the_user_adds(run: Path) -> None:
    contents = run_contents(run, "ada/forgotten", model={"license": "mit", "base_model": "ada/classifier"})
    assert set(contents.files) == {"config.json", "model.safetensors", "preprocessor_config.json", "unlearning.json"}
    assert contents.repo_type == "model" and contents.components == ()
    data = contents.card.data.to_dict()
    assert (data["license"], data["base_model"]) == ("mit", "ada/classifier")
    assert data["pipeline_tag"] == "image-classification"
    record = json.loads(bytes(contents.files["unlearning.json"]))
    assert record["model"] == {"base_model": "ada/classifier", "datasets": None, "license": "mit"}


def test_a_pipeline_without_a_record_is_described_without_claims(tmp_path: Path) -> None:
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    contents = pipeline_contents(tmp_path, "ada/pipeline")
    assert set(contents.files) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    assert (
        "It has no record of an unlearning run" in contents.card.text
        and contents.card.data.to_dict()["library_name"] == "diffusers"
    )


def test_indices_are_published_with_the_version_of_the_record(run: Path) -> None:
    contents = run_contents(run, "ada/forgotten", publish_indices=True)
    published = json.loads(bytes(contents.files["forget_indices.json"]))
    assert published == {
        "format_version": 4,
        "commitment": read_record(run)["forget"]["commitment"],
        "salt": (run / "_private" / "salt").read_text(),
        "forget_indices": list(FORGET),
    }


def test_indices_of_another_run_are_refused(run: Path) -> None:
    path = run / "_private" / "splits" / "splits.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "forget_indices": [1, 2, 3]}))
    with pytest.raises(ValueError, match="are not those of the run"):
        run_contents(run, "ada/forgotten", publish_indices=True)
    shutil.rmtree(run / "_private")
    with pytest.raises(FileNotFoundError, match="has no saved splits"):
        run_contents(run, "ada/forgotten", publish_indices=True)
