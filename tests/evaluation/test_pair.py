"""Two models are evaluated side by side, on each split and on each example of the forget set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn.cli.main import main
from hf_invwnn.evaluation import quantized, weight_distance
from hf_invwnn.image_classification import (
    DataArguments,
    ImageTensors,
    ScenarioArguments,
    evaluate_model,
    make_splits,
    predict,
)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Two small ViTs with their processors, and splits of the digits."""
    torch.manual_seed(0)
    for name in ("unlearned", "retrained"):
        config = ViTConfig(
            image_size=8,
            patch_size=4,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            num_labels=10,
        )
        ViTForImageClassification(config).save_pretrained(tmp_path / name)
        processor = ViTImageProcessorPil(size={"height": 8, "width": 8}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        processor.save_pretrained(tmp_path / name)
    splits = make_splits(DataArguments(max_train_examples=200, max_test_examples=60), ScenarioArguments(), seed=0)
    splits.save_to_disk(tmp_path / "splits")
    return {name: str(tmp_path / name) for name in ("unlearned", "retrained", "splits", "out")}


def words(folders: dict[str, str], *more: str) -> list[str]:
    flags = [f"--{name}={folders[name]}" for name in ("unlearned", "retrained", "splits")]
    return ["evaluate", *flags, f"--output-dir={folders['out']}", *more]


def test_two_models_are_evaluated_as_by_an_independent_computation(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(folders, "--max-relearning-steps=2", f"--original={folders['retrained']}")) == 0
    output = capsys.readouterr().out
    assert "steps on D_r to relearn D_f" in output and "never; up to" in output
    assert "| model | UA in 8 bits | UA in 4 bits | weights changed in 4 bits (%) | nearest mean (%) |" in output
    results = json.loads(Path(folders["out"], "evaluation.json").read_text())
    splits = make_splits(DataArguments(max_train_examples=200, max_test_examples=60), ScenarioArguments(), seed=0)
    processor = ViTImageProcessorPil.from_pretrained(folders["unlearned"])
    sets = {n: ImageTensors.from_dataset(getattr(splits, n), processor) for n in ("forget", "retain", "test")}
    for name in ("unlearned", "retrained"):
        model = ViTForImageClassification.from_pretrained(folders[name])
        expected = evaluate_model(model, sets)
        assert {metric: results[name][metric] for metric in expected} == pytest.approx(expected)
        found = results[name]["left_behind"]
        rounded, _ = predict(quantized(model, 4), sets["forget"], 500)
        assert found["ua_4_bits"] == pytest.approx(100 * np.mean(rounded.argmax(1) != sets["forget"].labels.numpy()))
        assert 0 <= found["linear"] <= 100
    found = results["unlearned"]["left_behind"]
    both = [ViTForImageClassification.from_pretrained(folders[name]) for name in ("retrained", "unlearned")]
    assert found["relative"] == pytest.approx(weight_distance(*both)["relative"])
    assert "barrier" in found and "barrier" not in results["retrained"]["left_behind"]
    assert results["original"]["TA"] == results["retrained"]["TA"]
    assert sum(results["shares"][name] for name in ("under", "over", "matched")) == pytest.approx(100)
    table = Dataset.from_parquet(str(Path(folders["out"], "per_example.parquet")))
    assert list(table["row"]) == list(splits.forget_indices)
    model = ViTForImageClassification.from_pretrained(folders["unlearned"])
    logits = model(pixel_values=sets["forget"].pixel_values).logits
    losses = nn.functional.cross_entropy(logits, sets["forget"].labels, reduction="none")
    np.testing.assert_allclose(table["unlearned_loss"], losses.detach(), rtol=1e-4)
    assert "forget_indices" not in json.dumps(results), "only the private table contains the indices"


def test_a_model_with_fewer_classes_than_the_splits_is_refused(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = ViTConfig.from_pretrained(folders["unlearned"], num_labels=5)
    ViTForImageClassification(config).save_pretrained(folders["unlearned"])
    assert main(words(folders)) == 2
    assert "has the classes 0..4, but the splits have the label 9" in capsys.readouterr().err
    assert not Path(folders["out"], "evaluation.json").exists()


def test_missing_splits_are_refused(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words({**folders, "splits": folders["out"]})) == 2
    assert "does not hold complete splits" in capsys.readouterr().err
