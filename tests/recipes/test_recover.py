"""The recipe that compares rewinding alone with rewinding and recovery, and the page that shows its results."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_beyond_the_table import CONFIG, RECIPES


PLAN: dict[str, Any] = {
    "chosen_with": 0,
    "seeds": [1, 2],
    "compared_with": "rewinding",
    "examines": 10,
    "method": "task_vector",
    "shared": {"num_rewinds": 20, "num_snapshots": 3, "learning_rate": 1e-3, "surrogates": "shifted"},
    "rows": {
        "rewinding": {"residual_scale": [0.5, 2.0]},
        "recovery": {"residual_scale": [2.0], "recovery_steps": [3]},
        "noise": {"method": ["gaussian_noise"], "deviations": [0.2], "recovery_steps": [3]},
    },
}


@pytest.fixture
def recover(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(RECIPES)
    return import_module("recover")


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(RECIPES)
    return import_module("recovery_defaults")


@pytest.mark.slow
def test_settings_are_chosen_with_one_seed_and_reported_with_others(
    recover: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished runs are kept, and not repeated."""
    training = {**CONFIG["training"], "num_train_epochs": 5}
    comparison = {**CONFIG, "training": training, "output_dir": str(tmp_path / "starts")}
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(comparison))
    plan = {**PLAN, "comparisons": {"digits": {"config": str(tmp_path / "digits.yaml"), "target_ua": "retrained"}}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    words = ["--config", str(tmp_path / "plan.yaml"), "--output_dir", str(tmp_path / "out"),
             "--results", str(tmp_path / "results")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["recover.py", *words])
    recover.main()
    results = json.loads((tmp_path / "results" / "recovery_plan.json").read_text())["digits"]
    rows = results["rows"]
    tried = rows["rewinding"]["tried"]
    assert [one["seed"] for one in tried] == [0, 0] and [one["seed"] for one in rows["recovery"]["seeds"]] == [1, 2]
    reached = [one for one in tried if one["outcome"] == "reached"] or tried
    assert rows["rewinding"]["setting"] == max(reached, key=lambda one: one["validation"])["setting"]
    assert rows["recovery"]["tried"] == []  # there is one setting
    assert {"UA", "RA", "TA"} <= rows["recovery"]["seeds"][0]["metrics"].keys()
    assert len(results["references"]["retrained"]) == len(results["references"]["retrained_examined"]) == 2
    examined = rows["noise"]["seeds"][0]["examined"]
    assert 0 <= examined["ua_4_bits"] <= 100 and 0 <= examined["changed_in_4_bits"] <= 100
    text = (tmp_path / "results" / "recovery_plan.md").read_text()
    assert text == recover.page({"digits": results}, "rewinding")
    assert text.count("| digits | recovery") == text.count("| digits | noise") == 3
    assert "| digits | retrained |" in text

    monkeypatch.setattr(import_module("recovery_runs"), "make_unlearner", lambda *arguments, **options: 1 / 0)
    recover.main()
    assert text == (tmp_path / "results" / "recovery_plan.md").read_text()


def test_results_of_another_plan_are_not_taken_for_those_of_a_comparison_of_the_same_name(
    recover: Any, tmp_path: Path
) -> None:
    def file(target: float, fraction: float) -> Path:
        scenario = {"scenario": "random_subset", "scenario_settings": {"fraction": fraction}}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({**CONFIG, "scenario": scenario, "output_dir": "x"}))
        plan = {**PLAN, "comparisons": {"digits": {"config": str(tmp_path / "c.yaml"), "target_ua": target}}}
        path: Path = import_module("recovery_runs").path_of((plan, None, "out", "digits", 0, {"residual_scale": 1.0}))
        return path

    assert file(50.0, 0.1) == file(50.0, 0.1)
    assert len({file(50.0, 0.1), file(60.0, 0.1), file(50.0, 0.2)}) == 3


def test_the_page_shows_the_recorded_results(recover: Any, defaults: Any) -> None:
    """Every table of every plan that has results."""
    page = (RECIPES.parent / "recovery.md").read_text()
    found = sorted((RECIPES / "results").glob("recovery_*.json"))
    assert len(found) >= 1
    for path in found:
        name = path.stem.removeprefix("recovery_")
        plan = yaml.safe_load((RECIPES / "configs" / "recovery" / f"{name}.yaml").read_text())
        results = json.loads(path.read_text())
        text = defaults.table(results) if name == "defaults" else recover.page(results, plan["compared_with"])
        for table in text.strip().split("\n\n"):
            assert table in page, name
        assert path.with_suffix(".md").read_text().strip() == text.strip()


def test_differences_are_those_of_the_seeds_with_their_interval(recover: Any) -> None:
    made = {"a": {"rows": {"recovery": seeds(95.0, 96.0, 97.0), "rewinding": seeds(90.0, 90.0, 90.0)}}}
    # The standard error of 5, 6, 7 is 0.577, and the 97.5 % quantile of t with two degrees of freedom 4.303.
    expected = "| a | recovery | +6.0 (+3.5 to +8.5) | +6.0 (+3.5 to +8.5) |"
    assert expected in recover.differences(made, "rewinding")
    made["a"]["rows"]["recovery"]["seeds"][1]["outcome"] = "target not reached"
    assert "| a | recovery | not at the same UA |  |" in recover.differences(made, "rewinding")


def test_a_change_is_compared_with_the_default_and_only_where_it_reached_the_target(defaults: Any) -> None:
    def result(validation: float, outcome: str = "reached") -> dict[str, Any]:
        return {"validation": validation, "outcome": outcome}

    results = {
        "a": {"default": result(50.0), "more steps": result(51.0), "other start": result(60.0, "target not reached")},
        "b": {"default": result(70.0), "more steps": result(68.0), "other start": result(70.5)},
        "c": {"default": result(30.0)},
    }
    text = defaults.table(results)
    assert "| default | 50.0 | 70.0 | 30.0 |  |" in text
    # The standard error of 1 and -2 is 1.5, and the 97.5 % quantile of t with one degree of freedom 12.706.
    assert "| more steps | +1.0 | -2.0 |  | -0.5 (-19.6 to +18.6) |" in text
    assert "| other start | not reached | +0.5 |  |  |" in text
    assert "| the best minus the default | +1.0 | +0.5 | +0.0 | +0.5 |" in text


@pytest.mark.slow
def test_defaults_are_compared_by_validation_alone(
    defaults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No retrained model is trained, and a local copy of the data is used only where it is named."""
    training = {**CONFIG["training"], "num_train_epochs": 5}
    comparison = {**CONFIG, "training": training, "output_dir": str(tmp_path / "starts")}
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(comparison))
    one = {"config": str(tmp_path / "digits.yaml"), "target_ua": 30}
    plan = {
        "comparisons": {"digits": one}, "retrains": False, "chosen_with": 0, "method": "task_vector",
        "shared": {"num_rewinds": 20, "num_snapshots": 3, "recovery_steps": 3, "residual_scale": 2.0},
        "rows": {"default": {}, "mixed": {"surrogates": "mixed"}},
    }  # fmt: skip
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    words = ["--config", str(tmp_path / "plan.yaml"), "--output_dir", str(tmp_path / "out"),
             "--results", str(tmp_path / "results"), "--dataset", "another/set=nowhere"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["recovery_defaults.py", *words])
    defaults.main()
    results = json.loads((tmp_path / "results" / "recovery_plan.json").read_text())
    assert results["digits"].keys() == {"default", "mixed"}
    assert (tmp_path / "results" / "recovery_plan.md").read_text() == defaults.table(results) + "\n"
    assert not list((tmp_path / "starts").rglob("retrained"))


def seeds(*values: float) -> dict[str, Any]:
    return {"seeds": [{"metrics": {"RA": value, "TA": value}} for value in values]}
