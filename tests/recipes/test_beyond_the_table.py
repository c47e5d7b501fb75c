"""Recipes that start from a finished comparison run as documented, and refuse an unfinished one."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from hf_invwnn.benchmark import compare, prepare_start, read_settings
from hf_invwnn.image_classification import predict


RECIPES = Path(__file__).parents[2] / "recipes" / "image_classification"
VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
CONFIG: dict[str, Any] = {
    "title": "digits",
    "data": {"dataset": "digits"},
    "scenario": {"scenario": "random_subset", "scenario_settings": {"fraction": 0.1, "validation_fraction": 0.1}},
    "model": {"model": "vit", "image_size": 8, "model_config": {"image_size": 8, "patch_size": 4, **VIT}},
    "training": {"num_train_epochs": 25, "per_device_train_batch_size": 240, "learning_rate": 1e-2, "use_cpu": True},
    "unlearning": {"per_device_train_batch_size": 64, "use_cpu": True},
    "budget_steps": 60,
    "measure_steps": 2,
    "levels": [40],
    "target_ua": 60,
    "widenings": 0,
    "seeds": [0],
    "methods": {"random_label": {"learning_rate": [1e-3]}, "neg_grad": {"learning_rate": [3e-4]}},
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    path = folder / "comparison.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "output_dir": str(folder / "out")}))
    compare(read_settings(path))
    return path


def run(monkeypatch: pytest.MonkeyPatch, recipe: str, comparison: Path, *flags: str) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES)
    module = import_module(recipe)
    monkeypatch.setattr(sys, "argv", [f"{recipe}.py", "--comparison", str(comparison), *flags])
    module.main()
    return module


@pytest.mark.slow
def test_the_landscape_is_drawn(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--methods", "random_label", "neg_grad", "--resolution", "3", "--examples", "40")
    run(monkeypatch, "landscape", comparison, *flags)
    assert (comparison.parent / "out" / "landscape.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_path_ends_at_the_target(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a method starts at the original weights, and its last weights have the UA of the comparison."""
    monkeypatch.syspath_prepend(RECIPES)
    module = import_module("landscape")
    settings = read_settings(comparison)
    start = prepare_start(settings, 0)
    path = module.path_of(settings, start, 60.0, "random_label", {"learning_rate": 1e-3})
    np.testing.assert_array_equal(path[0], module.weights_of(start.model()))
    model = start.model().to(memory_format=torch.contiguous_format)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(path[-1]), model.parameters())
    forget = start.datasets(("forget",))["forget"]
    logits, labels = predict(model, forget)
    assert abs(100 * float((logits.argmax(axis=1) != labels).mean()) - 60) <= 100 / len(forget) + 1e-9


@pytest.mark.slow
def test_activation_maps_of_every_model_are_drawn(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "class_activation", comparison, "--images", "2")
    assert (comparison.parent / "out" / "class_activation.png").stat().st_size > 10_000


@pytest.mark.slow
def test_every_model_is_examined(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "examine", comparison, "--max_relearning_steps", "10")
    lines = (comparison.parent / "out" / "examined.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["original", "retrained", "NegGrad", "Random Label"]
    assert (comparison.parent / "out" / "examined" / "neg_grad" / "per_example.parquet").exists()


@pytest.mark.slow
def test_all_shadows_have_the_same_forget_set(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "ulira", comparison, "--shadows", "3", "--methods", "random_label")
    folder = comparison.parent / "out"
    lines = (folder / "ulira.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["original", "Random Label"]
    indices = {path.read_text() for path in (folder / "shadows" / "starts").glob("*/splits/*.json")}
    assert len(list((folder / "shadows" / "starts").iterdir())) == 3 and len(indices) == 1


@pytest.mark.parametrize("recipe", ["landscape", "class_activation", "examine", "ulira"])
def test_a_comparison_that_has_not_run_is_refused(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "comparison.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "output_dir": str(tmp_path / "out")}))
    with pytest.raises(SystemExit, match=r"--comparison: .* run `hf-invwnn compare`"):
        run(monkeypatch, recipe, path)
    assert not (tmp_path / "out" / "starts").exists()


@pytest.mark.slow
def test_results_of_another_data_set_are_refused(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"--dataset: .* of other starting points than those of 'somebody/digits'"):
        run(monkeypatch, "examine", comparison, "--dataset", "somebody/digits")
    assert len(list((comparison.parent / "out" / "starts").iterdir())) == 1


@pytest.mark.slow
def test_a_method_that_was_not_compared_is_refused(comparison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"--methods: \['salun'\] are not in the comparison, which has neg_grad, "):
        run(monkeypatch, "landscape", comparison, "--methods", "salun", "neg_grad")


def test_the_page_shows_the_recorded_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(RECIPES)
    module = import_module("ulira")
    (path,) = (RECIPES / "results").glob("ulira_*.json")
    text = module.table(json.loads(path.read_text()))
    assert path.with_suffix(".md").read_text() == text
    assert text in (RECIPES.parent / "recovery.md").read_text()
