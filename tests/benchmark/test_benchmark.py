"""Comparisons treat all methods alike, resume where they stopped, and mark methods that did not reach the target."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForImageClassification

from hf_invwnn.benchmark import (
    ComparisonSettings,
    MethodSweep,
    compare,
    comparison_page,
    read_results,
    read_settings,
    write_comparison,
)
from hf_invwnn.benchmark.figures import plot_comparison
from hf_invwnn.benchmark.starting_point import prepare_start
from hf_invwnn.benchmark.tables import comparison_table, cost_table, curve_table
from hf_invwnn.benchmark.verdict_table import verdict_table
from hf_invwnn.cli.main import main
from hf_invwnn.image_classification import digit_images, evaluate_model
from hf_invwnn.methods import find_method
from hf_invwnn.trainer.identity import own_parameters


VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIG: dict[str, Any] = {
    "title": "digits",
    "data": {"dataset": "digits", "max_train_examples": 300, "max_test_examples": 120},
    "scenario": {"scenario": "label_noise", "scenario_settings": {"fraction": 0.2, "validation_fraction": 0.2}},
    "model": {"model": "vit", "image_size": 8, "model_config": {"image_size": 8, "patch_size": 4, **VIT}},
    "training": {"num_train_epochs": 250, "per_device_train_batch_size": 240, "learning_rate": 1e-2, "use_cpu": True},
    "unlearning": {"per_device_train_batch_size": 48, "use_cpu": True},
    "budget_steps": 56,
    "measure_steps": 4,
    "levels": [20, 40],
    "target_ua": 30,
    "widenings": 0,
    "seeds": [0, 1],
    "methods": {
        "invwnn": {"learning_rate": [1e-3, 2e-3], "residual_scale": [2.0]},
        "random_label": {"learning_rate": [1e-3, 3e-3]},
        "neg_grad": {"learning_rate": [1e-9]},
    },
}


def config(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "comparison.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "output_dir": str(tmp_path / "out"), **changes}))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A complete comparison of three methods, one of which hardly changes the model."""
    folder = tmp_path_factory.mktemp("comparison")
    return folder, compare(read_settings(config(folder)))


@pytest.mark.slow
def test_every_method_is_tried_and_evaluated_with_every_seed(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, results = finished
    assert results == json.loads((folder / "out" / "results.json").read_text())
    assert {name: method["tried"] for name, method in results["methods"].items()} == {
        "invwnn": 2,
        "random_label": 2,
        "neg_grad": 1,
    }
    # Of two values each is at an edge; of one there is none.
    edges = {name: method["at_edge"] for name, method in results["methods"].items()}
    assert edges == {"invwnn": ["learning_rate"], "random_label": ["learning_rate"], "neg_grad": []}
    assert "| Random Label | D_f | 2, learning_rate at an edge |" in comparison_table(results)
    for name in ("invwnn", "random_label"):
        for run in results["methods"][name]["seeds"].values():
            # A method that records trajectories ends at the target; the other may be better beyond it.
            assert run["metrics"]["UA"] >= 30 - 100 / 48 - 1e-9
            assert name == "random_label" or run["metrics"]["UA"] <= 30 + 100 / 48 + 1e-9
            assert run["history"][0]["step"] == 0
            assert {"eval_retain_accuracy", "eval_forget_clean_accuracy"} <= run["history"][-1].keys()
            assert max(point["step"] for point in run["history"]) <= 56
            at_target = [point for point in run["history"] if point["ua"] >= 30 - 100 / 48]
            assert run["validation"] >= max(100 * point["eval_validation_accuracy"] for point in at_target) - 1e-9
    for references in results["references"].values():
        assert references["retrained"]["cost"]["memory"] is None or references["retrained"]["cost"]["memory"] >= 0
        assert references["original"]["UA"] < 10 < references["retrained"]["UA"]
        assert references["retrained"]["cost"]["steps"] == 250


@pytest.mark.slow
def test_tables_are_made_again_from_finished_results_of_the_same_settings(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, results = finished
    file = folder / "out" / "results.json"
    text = write_comparison(results, tmp_path / "page.md")
    assert main(["compare", "--table", str(file), "--config", str(folder / "comparison.yaml")]) == 0
    assert file.with_suffix(".md").read_text() == text.replace("page.png", "results.png")
    assert file.with_suffix(".png").stat().st_size > 10_000
    changed = {**CONFIG, "output_dir": str(folder / "out"), "budget_steps": 60}
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed))
    assert main(["compare", "--table", str(file), "--config", str(tmp_path / "changed.yaml")]) == 2
    assert "holds the results of other settings" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="run the comparison first"):
        read_results(tmp_path / "none.json")
    del results["methods"]["neg_grad"]["seeds"]["1"]
    (tmp_path / "lacking.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match="lacks seed 1 of neg_grad"):
        read_results(tmp_path / "lacking.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no results of a comparison"):
        read_results(tmp_path / "other.json")
    assert main(["compare"]) == 2
    assert "`config` is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_forget_sets_of_one_model_differ_and_their_target_is_the_mean_of_the_retrained(tmp_path: Path) -> None:
    changes = {
        "scenario": {"scenario": "random_subset", "scenario_settings": {"fraction": 0.2, "validation_fraction": 0.2}},
        "training": {**CONFIG["training"], "num_train_epochs": 60},
        "methods": {"random_label": {"learning_rate": [1e-3]}, "gaussian_noise": {"deviations": [0.05]}},
        "target_ua": "retrained",
        "levels": [],
        "forget_sets": 2,
        "chosen_with": 2,
        "compared_with": "random_label",
    }
    settings = read_settings(config(tmp_path, **changes))
    results = compare(settings)
    retrained = [models["retrained"] for models in results["references"].values()]
    assert results["target"] == pytest.approx(sum(model["UA"] for model in retrained) / 2)
    runs = results["methods"]["random_label"]["seeds"]
    assert list(runs) == ["0.0", "0.1", "1.0", "1.1"]
    assert all(run["metrics"]["UA"] >= results["target"] - 100 / 48 - 1e-9 for run in runs.values())
    start = prepare_start(settings, 0, only="")
    one, other = (set(start.with_forget_set(number).splits.forget_indices) for number in (0, 1))
    assert len(one) == len(other) and one != other
    again = prepare_start(settings, 0, only="").with_forget_set(1)
    assert set(again.splits.forget_indices) == other
    assert len(again.datasets(("retain",))["retain"]) == len(start.splits.train) - len(other)
    page = comparison_page(results, "x.png")
    assert "2 starting models, 2 forget sets each" in page and "seed 2." in page
    plot_comparison(results, tmp_path / "points.png")
    assert (tmp_path / "points.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_saved_model_of_the_first_seed_has_the_reported_metrics(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, results = finished
    start = prepare_start(read_settings(config(folder)), 0)
    assert sorted(path.name for path in (folder / "out" / "unlearned").iterdir()) == ["invwnn", "random_label"]
    for name in ("invwnn", "random_label"):
        model = AutoModelForImageClassification.from_pretrained(folder / "out" / "unlearned" / name)
        reported = results["methods"][name]["seeds"]["0"]["metrics"]
        metrics = evaluate_model(model, start.datasets(("forget", "retain", "test")))
        assert {key: metrics[key] for key in ("UA", "RA", "TA")} == pytest.approx(
            {key: reported[key] for key in ("UA", "RA", "TA")}
        )


@pytest.mark.slow
def test_snapshots_may_be_closer_than_an_epoch(tmp_path: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    """D_f has 48 examples in batches of 12: an epoch is 4 steps, and a round of 14 intervals of 2 steps takes 28."""
    folder, _ = finished
    shutil.copytree(folder / "out" / "starts", tmp_path / "out" / "starts")
    changes = {
        "methods": {"invwnn": {"learning_rate": [1e-3], "residual_scale": [2.0]}},
        "target_ua": 99,
        "seeds": [0],
        "interval_steps": 2,
        "unlearning": {"per_device_train_batch_size": 12, "use_cpu": True},
    }
    results = compare(read_settings(config(tmp_path, **changes)))
    steps = [point["step"] for point in results["methods"]["invwnn"]["seeds"]["0"]["history"]]
    assert steps == [0, 28, 56]


@pytest.mark.slow
def test_a_method_may_have_several_rows_and_settings_are_chosen_with_a_seed_that_is_not_reported(
    tmp_path: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    """The row with recovery recovers, the other does not; what is retrained is needed for the reported seed alone."""
    folder, _ = finished
    shutil.copytree(folder / "out" / "starts", tmp_path / "out" / "starts")
    retrained = prepare_start(read_settings(config(tmp_path)), 1, only="").folder / "retrained"
    shutil.rmtree(retrained)
    quick = {"learning_rate": [3e-3]}
    changes = {
        "methods": {
            "random_label": {"learning_rate": [1e-3, 3e-3]},
            "with recovery": {"method": "random_label", "recovery_steps": [4], **quick},
        },
        "seeds": [0],
        "chosen_with": 1,
        "levels": [20],
    }
    results = compare(read_settings(config(tmp_path, **changes)))
    assert not retrained.exists() and list(results["references"]) == ["0"] and results["chosen_with"] == 1
    alone, recovered = results["methods"].values()
    assert (recovered["method"], recovered["title"], alone["title"]) == (
        "random_label",
        "with recovery",
        "Random Label",
    )
    assert "after recovery" in recovered["seeds"]["0"]["stopped"]
    assert "recovery" not in alone["seeds"]["0"]["stopped"]
    assert (tmp_path / "out" / "unlearned" / "with_recovery" / "model.safetensors").exists()
    assert "| with recovery | D_f | 1 |" in comparison_table(results)


@pytest.mark.slow
def test_a_method_that_did_not_reach_the_target_has_no_numbers(finished: tuple[Path, dict[str, Any]]) -> None:
    _, results = finished
    assert all(run["metrics"] is None for run in results["methods"]["neg_grad"]["seeds"].values())
    for text in (comparison_table(results), curve_table(results), verdict_table(results)):
        (row,) = [line for line in text.splitlines() if line.startswith("| NegGrad ")]
        assert "not reached" in row
        assert not any(character.isdigit() for character in row.replace("| 1 |", ""))
    (row,) = [line for line in cost_table(results).splitlines() if line.startswith("| NegGrad ")]
    # What the sweep cost is known: two runs of 56 steps of 48 images, and 15 measurements of 48 in each.
    forward, backward = (f"{images / 1000:.0f}" for images in (2 * 56 * 48 + 2 * 15 * 48, 2 * 56 * 48))
    assert f"| not reached |  |  |  |  | {forward} | {backward} |" in row


@pytest.mark.slow
def test_a_comparison_runs_only_what_is_missing(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, results = finished
    files = {path: path.stat().st_mtime_ns for path in (folder / "out" / "runs").rglob("*.json")}
    missing = sorted(files)[0]
    missing.unlink()
    again = compare(read_settings(config(folder)))
    changed = [path for path, when in files.items() if path.stat().st_mtime_ns != when]
    assert changed == [missing]
    assert again["methods"]["invwnn"]["setting"] == results["methods"]["invwnn"]["setting"]


@pytest.mark.slow
def test_two_workers_give_the_results_of_one(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, results = finished
    shutil.copytree(folder / "out" / "starts", tmp_path / "out" / "starts")
    changes = {"methods": {"random_label": CONFIG["methods"]["random_label"]}, "seeds": [0]}
    two = compare(read_settings(config(tmp_path, **changes)), workers=2)
    expected, run = (r["methods"]["random_label"]["seeds"]["0"] for r in (results, two))
    assert run["metrics"] == pytest.approx(expected["metrics"], abs=1e-6)
    assert [point["ua"] for point in run["history"]] == [point["ua"] for point in expected["history"]]


@pytest.mark.slow
def test_references_are_the_metrics_of_the_saved_models(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, results = finished
    settings = read_settings(config(folder))
    start = prepare_start(settings, 1)
    datasets = start.datasets(("forget", "retain", "test"))
    for name in ("original", "retrained"):
        model = AutoModelForImageClassification.from_pretrained(start.folder / name)
        expected = evaluate_model(model, datasets)
        reference = results["references"]["1"][name]
        assert {key: reference[key] for key in expected} == pytest.approx(expected)


def write_parquet(folder: Path, column: str) -> None:
    """The digits as a local data set whose images are in `column`."""
    folder.mkdir()
    for split, images in zip(("train", "test"), digit_images(), strict=True):
        images.rename_column("image", column).to_parquet(folder / f"{split}.parquet")


@pytest.mark.slow
def test_a_local_folder_takes_the_place_of_the_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file names a Hub id and its columns; the images of the folder are in a column of another name."""
    write_parquet(tmp_path / "local", "picture")
    changes = {
        "data": {**CONFIG["data"], "dataset": "somebody/digits", "image_column": "img"},
        "scenario": {"scenario": "badnets", "scenario_settings": {"target": 0, "fraction": 0.2}},
        "training": {**CONFIG["training"], "num_train_epochs": 20},
        "methods": {"random_label": {"learning_rate": [3e-3]}},
        "seeds": [0],
    }
    words = ["--config", str(config(tmp_path, **changes)), "--dataset", str(tmp_path / "local")]
    assert main(["compare", *words]) == 0
    assert "Random Label" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert str(tmp_path) not in json.dumps(results)  # results are published
    assert "attack_success" in results["references"]["0"]["original"]
    (start,) = (tmp_path / "out" / "starts").iterdir()
    assert json.loads((start / "made_from.json").read_text())["data"]["image_column"] == "img"


@pytest.mark.slow
def test_the_picture_of_curves_is_drawn(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    plot_comparison(finished[1], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_three_seeds_decide_little() -> None:
    """The last difference is 2.05 standard errors, which is not significant with three seeds."""

    def method(title: str, values: list[float]) -> dict[str, Any]:
        seeds = {str(seed): {"metrics": {"TA": value}} for seed, value in enumerate(values)}
        return {"title": title, "seeds": seeds}

    results = {
        "methods": {
            "invwnn": method("InvWNN", [50, 52, 51]),
            "a": method("A", [48, 50, 49.5]),
            "b": method("B", [51, 50.5, 51.5]),
            "c": method("C", [55, 57, 56.5]),
            "d": method("D", [49, 50, 50.8]),
        }
    }
    lines = verdict_table(results).splitlines()[2:]
    expected = ["better", "undecided", "worse", "undecided"]
    assert [line.split("|")[2].split(",")[0].strip() for line in lines] == expected
    assert "+1.83 (+1.50 to +2.00)" in lines[0]


def test_verdicts_measure_the_distance_from_retraining() -> None:
    """A smaller average gap is better, whatever its sign in the table."""

    def method(title: str, gaps: list[float]) -> dict[str, Any]:
        metrics = [{"UA": 50.0, "RA": 100.0 - gap, "TA": 50.0, "MIA": 60.0} for gap in gaps]
        return {"title": title, "seeds": {str(seed): {"metrics": one} for seed, one in enumerate(metrics)}}

    retrained = {"UA": 50.0, "RA": 100.0, "TA": 50.0, "MIA": 60.0}
    results = {
        "methods": {"invwnn": method("InvWNN", [4.0, 4.1, 4.2, 3.9]), "a": method("A", [8.0, 8.2, 8.1, 8.1])},
        "references": {str(seed): {"retrained": retrained} for seed in range(4)},
    }
    table = verdict_table(results)
    # A gap of 4 and one of 8 in one of four metrics; the tug-of-war is 0.96 and 0.92.
    assert "better, -1.01 (" in table and "better, +4.05 (" in table
    assert table.splitlines()[0] == "| against | RA | TA | average gap | tug-of-war (in hundredths) |"


def test_a_method_that_a_control_beats_is_not_above_the_floor() -> None:
    def method(title: str, accuracy: float, needs_forget: bool = True) -> dict[str, Any]:
        metrics = {"UA": 70.0, "RA": accuracy, "TA": 40.0, "MIA": 50.0, "loss_auc": 0.5}
        runs = {"0": {"metrics": metrics}}
        return {"title": title, "tried": 1, "needs_retain": False, "needs_forget": needs_forget, "seeds": runs}

    results = {
        "methods": {"a": method("A", 80.0), "b": method("B", 50.0), "pruning": method("Pruning", 55.7, False)},
        "references": {"0": {"original": {"UA": 0.0, "RA": 100.0, "TA": 50.0, "MIA": 0.0, "loss_auc": 0.1}}},
    }
    lines = comparison_table(results).splitlines()
    assert lines[0].endswith("| RA - accuracy on D_f |")
    assert lines[3].endswith("| 50.00 |")
    assert lines[4].endswith("| 20.00, not above the floor |")
    assert "| Pruning | none |" in lines[5]


@pytest.mark.slow
def test_overfitting_has_no_retrained_model_and_no_method_that_needs_retained_examples(tmp_path: Path) -> None:
    changes = {"scenario": {"scenario": "overfitting", "scenario_settings": {"fraction": 0.2}}, "seeds": [0]}
    only = {"methods": {"random_label": {"learning_rate": [3e-3]}}}
    results = compare(read_settings(config(tmp_path, **changes, **only)))
    assert list(results["references"]["0"]) == ["original"]
    metrics = results["methods"]["random_label"]["seeds"]["0"]["metrics"]
    assert {"UA", "TA"} == metrics.keys()
    assert "RA" not in comparison_table(results)
    needy = {"methods": {"fine_tuning": {"learning_rate": [1e-3]}}}
    with pytest.raises(ValueError, match="fine_tuning train on retained examples"):
        compare(read_settings(config(tmp_path, **changes, **needy)))
    with pytest.raises(ValueError, match="`target_ua` must be a number: in overfitting"):
        read_settings(config(tmp_path, **changes, target_ua="retrained"))


# ---- Bad input ----


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"methods": {"forgetter": {}}}, "`method` must be one of invwnn, .*, got 'forgetter'"),
        ({"methods": {}}, "`methods` is empty"),
        ({"methods": {"neg_grad": {"mask_share": [0.5]}}}, "neg_grad has no parameter 'mask_share'"),
        ({"methods": {"neg_grad": {"learning_rate": 0.1}}}, "learning_rate of neg_grad must be a list"),
        ({"methods": {"neg_grad": {"num_rewinds": [3]}}}, "no parameter 'num_rewinds' that a sweep could set"),
        ({"seeds": [1, 1]}, r"`seeds` must be different from each other, .* got \[1, 1\]"),
        ({"seeds": []}, "`seeds` must be"),
        ({"target_ua": "retrain"}, "`target_ua` must be a number in percent or 'retrained', got 'retrain'"),
        ({"levels": [0]}, "`levels` are in percent"),
        ({"budget_steps": 0}, "`budget_steps` must be at least 1"),
        ({"patience": 0}, "`patience` must be at least 1"),
        ({"widenings": -1}, "`widenings` must be at least 0, got -1"),
        ({"forget_sets": 2}, "`forget_sets` must be 1 in the scenario 'label_noise'"),
        ({"compared_with": "salun"}, "`compared_with` must be one of invwnn, neg_grad, random_label, got 'salun'"),
        ({"methods": {"neg_grad": [3]}}, "neg_grad must hold `name: values` lines, or a list of such"),
        ({"data": {"datset": "digits"}}, r"`data` has unknown keys \['datset'\]"),
        ({"data": "digits"}, "`data` must hold `name: value` lines, got 'digits'"),
        ({"sedes": [1]}, r"unknown keys \['sedes'\]"),
    ],
)
def test_invalid_settings_are_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_settings(config(tmp_path, **changes))
    assert not (tmp_path / "out").exists()


def test_the_command_reports_a_missing_or_incomplete_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "there is no file" in capsys.readouterr().err
    path = config(tmp_path)
    path.write_text("title: x\n")
    assert main(["compare", "--config", str(path)]) == 2
    assert "lacks ['output_dir', 'data'" in capsys.readouterr().err


def test_a_starting_point_of_other_settings_is_refused(tmp_path: Path) -> None:
    """The name of the folder is a hash of the settings, so only an edited or copied folder can be wrong."""
    settings = read_settings(config(tmp_path))
    folder = Path(settings.output_dir) / "starts" / settings.start_hash(0)
    folder.mkdir(parents=True)
    (folder / "made_from.json").write_text(json.dumps({"seed": 0}))
    with pytest.raises(ValueError, match="was made from other settings"):
        prepare_start(settings, 0)


def test_settings_that_change_a_run_change_its_name(tmp_path: Path) -> None:
    settings = read_settings(config(tmp_path))
    rates = [{"learning_rate": rate} for rate in (1e-3, 1e-4)]
    names = {settings.run_hash("neg_grad", rate, seed, 0, 30) for rate in rates for seed in (0, 1)}
    other = read_settings(config(tmp_path, budget_steps=100))
    names |= {other.run_hash("neg_grad", rates[0], 0, 0, 30), settings.run_hash("salun", {}, 0, 0, 30)}
    names |= {settings.run_hash("neg_grad", rates[0], 0, 1, 30), settings.run_hash("neg_grad", rates[0], 0, 0, 31)}
    assert len(names) == 8
    assert settings.start_hash(0) == other.start_hash(0) != settings.start_hash(1)


def test_own_parameters_of_methods() -> None:
    assert own_parameters(find_method("salun")) == {"mask_share"}
    assert own_parameters(find_method("boundary_shrink")) == {"step", "pixel_mean", "pixel_std"}
    assert own_parameters(find_method("invwnn")) == {"predictor"}
    assert own_parameters(find_method("scrub")) == {"alpha", "gamma", "temperature", "min_steps", "max_epochs"}
    sweep = MethodSweep("scrub", {"learning_rate": [1, 2], "alpha": [3, 4, 5]})
    assert len(sweep.settings()) == 6
    both = MethodSweep("scrub", [{"optim": ["sgd"], "learning_rate": [1, 2]}, {"learning_rate": [3, 4, 5]}])
    assert len(both.settings()) == 5
    assert isinstance(ComparisonSettings("", "", {}, {}, {}, {}, (sweep,)), ComparisonSettings)
