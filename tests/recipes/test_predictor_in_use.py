"""Predictors compared in use: one curve for each setting, chosen on the validation set, read at equal forgetting."""

from __future__ import annotations

import json
import logging
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from hf_invwnn.image_classification import ModelArguments, digit_images, make_model
from hf_invwnn.scenarios import label_noise


RECIPES = Path(__file__).parents[2] / "recipes" / "predictor"
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_stopped_and_the_table_names_its_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.syspath_prepend(str(RECIPES))
    model, splits, choose = (str(tmp_path / name) for name in ("original", "splits", "choose"))
    torch.manual_seed(0)
    processor, network = make_model(ModelArguments("vit", {"image_size": 8, "patch_size": 4, **SIZES}, 8), 10)
    train, test = (part.rename_column("image", "img") for part in digit_images())
    drawn = label_noise(train.select(range(80)), test.select(range(20)), fraction=0.2, seed=0)
    drawn.save_to_disk(splits)
    with torch.no_grad():  # it answers with one class, which is that of at least one image to forget
        network.classifier.bias[drawn.forget[0][drawn.label_column]] = 10.0
    network.save_pretrained(model)
    processor.save_pretrained(model)
    words = [
        "--model",
        model,
        "--splits_dir",
        splits,
        "--image_column",
        "img",
        "--num_rewinds",
        "1",
        "--stop_at_ua",
        "100",
    ]
    words += ["--predictor", "linear", "--learning_rates", "1e-3", "--residual_scales", "0.2", "0.4"]

    def curve(path: Path) -> list[dict[str, float]]:
        return [{**point, "seconds": 0} for point in json.loads(path.read_text())["history"]]

    def run(recipe: str, *flags: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"{recipe}.py", *flags])
        import_module(recipe).main()

    run("compare_in_use", *words, "--watch", "validation", "--output_dir", choose)
    first, second = sorted(Path(choose).glob("*.json"))
    written, points = second.stat().st_mtime_ns, curve(first)
    first.unlink()
    run("compare_in_use", *words, "--watch", "validation", "--output_dir", choose)
    assert (second.stat().st_mtime_ns, curve(first)) == (written, points)
    assert len(points) == 2 and "eval_validation_accuracy" in points[-1]

    caplog.clear()
    run("summarize_in_use", "--chosen_from", choose, "--levels", "0")
    assert "| linear | 2 | " in caplog.text
