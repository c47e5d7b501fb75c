"""`hf-invwnn unlearn-diffusion`, from the command line to the saved pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers import DDPMPipeline
from helpers import copied, differing

from hf_invwnn.cli.main import EXIT_BAD_INPUT, main
from hf_invwnn.diffusion import load_pipeline, save_pipeline


@pytest.fixture
def original(pipeline: DDPMPipeline, tmp_path: Path) -> Path:
    save_pipeline(pipeline, tmp_path / "original")
    return tmp_path / "original"


@pytest.fixture
def words(original: Path, classifier_folder: Path, tmp_path: Path) -> list[str]:
    judge = ["--classifier", str(classifier_folder), "--num_images", "12", "--kid_subset_size", "10"]
    pace = ["--num_rewinds", "1", "--recovery_steps", "4", "--num_inference_steps", "2", "--max_forget_ratio", "0"]
    folders = ["--pipeline", str(original), "--output_dir", str(tmp_path / "out")]
    return ["unlearn-diffusion", *folders, "--dataset", "digits", "--forget-class", "4", *judge, *pace]


def test_a_class_is_forgotten_and_the_pipeline_saved(
    words: list[str], original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["history"][0]["eval_forget_ratio"] == results["original"]["forget_ratio"]
    assert "penultimate layer" in results["features"]
    output = capsys.readouterr().out
    assert f"after ({results['features']})" in output
    assert results["stopped"] in output
    load_pipeline(tmp_path / "out")
    load_pipeline(original)


def test_without_a_classifier_all_rounds_are_done(original: Path, tmp_path: Path) -> None:
    folders = ["--pipeline", str(original), "--output_dir", str(tmp_path / "out")]
    pace = ["--num_rewinds", "1", "--recovery_steps", "4"]
    assert main(["unlearn-diffusion", *folders, "--dataset", "digits", "--forget-class", "4", *pace]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["stopped"] == "rewinding and recovery are done after recovery (all 1 rounds are done)"
    before, after = (copied(load_pipeline(folder).pipeline.unet) for folder in (original, tmp_path / "out"))
    assert differing(after, before) == list(before)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--forget-class", "12"], "none of the images are in that class"),
        (["--forget-class", "four"], "'four' is not a class of"),
        (["--method", "random_label"], "`method` must be one of invwnn, task_vector, neg_grad"),
        (["--num_images", "9"], "`noise` has 9 images, fewer than the 10 of a subset of KID"),
        (["--pipeline", "./nowhere"], "there is no folder './nowhere'"),
        (["--dataset", "./nowhere"], "there is no folder './nowhere'"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(
    flags: list[str], message: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *flags]) == EXIT_BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "model_index.json").exists()
