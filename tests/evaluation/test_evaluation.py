"""A pair of models is judged as an independent computation judges it, and examples one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import Examples, build_model, unchanged
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn.cli.main import main
from hf_invwnn.evaluation.relearning import relearn
from hf_invwnn.image_classification import DataArguments, ScenarioArguments, make_splits
from hf_invwnn.image_classification import evaluate_model
from hf_invwnn.image_classification import ImageTensors
from hf_invwnn.metrics import forgetting_shares


# ---- Shares ----


def test_forgetting_is_compared_example_by_example() -> None:
    found = forgetting_shares(np.array([0.9, 0.5, 0.1, 0.55]), np.array([0.2, 0.5, 0.6, 0.5]), margin=0.1)
    assert found.verdicts.tolist() == ["under", "matched", "over", "matched"]
    assert (found.under, found.over, found.matched) == (25, 25, 50)


@pytest.mark.parametrize(
    ("model", "oracle", "margin", "match"),
    [
        (np.zeros(3), np.zeros(4), 0.1, "must be of one shape"),
        (np.zeros(0), np.zeros(0), 0.1, "must be of one shape"),
        (np.zeros(3), np.zeros(3), 1.0, "`margin` must lie in"),
    ],
)
def test_shares_of_what_cannot_be_compared(model: np.ndarray, oracle: np.ndarray, margin: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        forgetting_shares(model, oracle, margin)


# ---- Relearning ----


def test_relearning_looks_at_the_forget_set_and_learns_from_the_retained_one(
    memorised_vit: nn.Module, noisy: Examples, held_out: Examples, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"learning_rate": 3e-3, "batch_size": 32, "use_cpu": True, "measure_steps": 1}
    folder, fresh = str(tmp_path), build_model("vit", seed=1)
    with unchanged(memorised_vit), unchanged(fresh):
        assert relearn(memorised_vit, noisy, held_out, folder, **options).steps == 0
        # Where D_r and D_f are one, the fresh model learns it; from other examples it cannot learn wrong labels.
        found = relearn(fresh, noisy, noisy, folder, level=0.5, **options)
        assert found.steps is not None and 1 < found.steps < 200 and found.highest >= 50
        fewer = relearn(fresh, noisy, noisy, folder, level=0.5, **{**options, "max_steps": found.steps - 1})
        assert fewer.steps is None and fewer.highest < 50
        other = relearn(fresh, noisy, held_out, folder, level=0.5, **{**options, "max_steps": found.steps + 20})
        assert other.steps is None and other.highest < 50


@pytest.mark.parametrize(
    ("options", "match"),
    [({"level": 0.0}, "`level` must lie in"), ({"measure_steps": 501}, "`measure_steps` must lie")],
)
def test_relearning_that_cannot_be_counted(
    noisy: Examples, tmp_path: Path, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        relearn(build_model("vit"), noisy, noisy, str(tmp_path), **options)


# ---- The pair ----


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Two small ViTs with their processors, and splits of the digits."""
    torch.manual_seed(0)
    for name in ("model", "reference"):
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
    return {name: str(tmp_path / name) for name in ("model", "reference", "splits", "out")}


def words(folders: dict[str, str], *more: str) -> list[str]:
    flags = [f"--{name}={folders[name]}" for name in ("model", "reference", "splits")]
    return ["evaluate", *flags, f"--output_dir={folders['out']}", *more]


def test_any_pair_is_judged(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(folders, "--max_relearning_steps=2", f"--original={folders['reference']}")) == 0
    printed = capsys.readouterr().out
    assert "until D_f is known" in printed and "never; up to" in printed
    results = json.loads(Path(folders["out"], "evaluation.json").read_text())
    splits = make_splits(DataArguments(max_train_examples=200, max_test_examples=60), ScenarioArguments(), seed=0)
    processor = ViTImageProcessorPil.from_pretrained(folders["model"])
    sets = {n: ImageTensors.from_dataset(getattr(splits, n), processor) for n in ("forget", "retain", "test")}
    for name in ("model", "reference"):
        model = ViTForImageClassification.from_pretrained(folders[name])
        expected = evaluate_model(model, sets)
        assert {metric: results[name][metric] for metric in expected} == pytest.approx(expected)
    assert results["original"]["TA"] == results["reference"]["TA"]
    assert sum(results["shares"][name] for name in ("under", "over", "matched")) == pytest.approx(100)
    table = Dataset.from_parquet(str(Path(folders["out"], "per_example.parquet")))
    assert list(table["row"]) == list(splits.forget_indices)
    model = ViTForImageClassification.from_pretrained(folders["model"])
    logits = model(pixel_values=sets["forget"].pixel_values).logits
    losses = nn.functional.cross_entropy(logits, sets["forget"].labels, reduction="none")
    np.testing.assert_allclose(table["model_loss"], losses.detach(), rtol=1e-4)
    assert "forget_indices" not in json.dumps(results), "the indices are in the private table alone"


def test_a_model_of_fewer_classes_is_refused(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    config = ViTConfig.from_pretrained(folders["model"], num_labels=5)
    ViTForImageClassification(config).save_pretrained(folders["model"])
    assert main(words(folders)) == 2
    assert "knows the classes 0..4, but the splits have the label 9" in capsys.readouterr().err
    assert not Path(folders["out"], "evaluation.json").exists()


def test_splits_that_are_not_there(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words({**folders, "splits": folders["out"]})) == 2
    assert "holds no complete splits" in capsys.readouterr().err
