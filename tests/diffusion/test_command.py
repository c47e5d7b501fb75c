"""`hf-invwnn unlearn-diffusion` does from the shell what the classes do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers import DDPMPipeline
from helpers import copied, differing

from hf_invwnn.cli import main


@pytest.fixture
def folder(pipeline: DDPMPipeline, tmp_path: Path) -> Path:
    pipeline.save_pretrained(tmp_path / "pipeline")
    return tmp_path


def test_a_pipeline_forgets_a_class_of_the_digits(
    folder: Path, pipeline: DDPMPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--num_rewinds 1 --learning_rate 1e-3 --residual_scale 0.5 --batch_size 128 --dataset digits --class 4"
    paths = ["--pipeline", str(folder / "pipeline"), "--output_dir", str(folder / "forgotten")]
    assert main(["unlearn-diffusion", *paths, *options.split()]) == 0
    assert "all 1 rewinds are done" in " ".join(capsys.readouterr().out.split())
    forgotten = DDPMPipeline.from_pretrained(folder / "forgotten")
    assert len(differing(copied(forgotten.unet), copied(pipeline.unet))) == len(copied(pipeline.unet))
    assert len(json.loads((folder / "forgotten" / "results.json").read_text())["history"]) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--class", "11"], "`forget_class`"),
        (["--class", "4", "--method", "salun"], "`method` must be one of invwnn, task_vector, neg_grad, got 'salun'"),
        (["--class", "4", "--classifier", "nowhere/at/all"], "`classifier`"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    given = ["--pipeline", str(folder / "pipeline"), "--dataset", "digits", "--output_dir", str(folder / "forgotten")]
    assert main(["unlearn-diffusion", *given, *flags]) == 2
    said = capsys.readouterr()
    assert message in " ".join((said.err + said.out).split())
    assert not (folder / "forgotten" / "model_index.json").exists()
