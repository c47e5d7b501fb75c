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
    "method": "task_vector",
    "shared": {"num_rewinds": 20, "num_snapshots": 3, "learning_rate": 1e-3},
    "rows": {
        "rewinding": {"residual_scale": [0.5, 2.0]},
        "recovery": {"residual_scale": [2.0], "recovery_steps": [3], "surrogates": ["shifted"]},
    },
}


@pytest.fixture
def recover(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(RECIPES)
    return import_module("recover")


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
    assert {"UA", "RA", "TA"} <= rows["recovery"]["seeds"][0]["metrics"].keys()
    assert len(results["references"]["retrained"]) == 2
    text = (tmp_path / "results" / "recovery_plan.md").read_text()
    assert text == f"{recover.table({'digits': results})}\n\n{recover.gains({'digits': results})}\n"
    assert "| digits | recovery |" in text

    monkeypatch.setattr(recover, "make_unlearner", lambda *arguments, **options: 1 / 0)
    recover.main()
    assert text == (tmp_path / "results" / "recovery_plan.md").read_text()


def test_the_page_shows_the_recorded_results(recover: Any) -> None:
    """And the difference is the mean of the differences of the seeds."""
    results = json.loads((RECIPES / "results" / "recovery_cifar10_small.json").read_text())
    page = (RECIPES.parent / "README.md").read_text()
    assert recover.table(results) in page and recover.gains(results) in page
    made = {"a": {"rows": {"recovery": seeds(95.0, 96.0, 97.0), "rewinding": seeds(90.0, 90.0, 90.0)}}}
    # The standard error of 5, 6, 7 is 0.577, and the 97.5 % quantile of t with two degrees of freedom 4.303.
    assert "| a | +6.0 (+3.5 to +8.5) | +6.0 (+3.5 to +8.5) |" in recover.gains(made)


def seeds(*values: float) -> dict[str, Any]:
    return {"seeds": [{"metrics": {"RA": value, "TA": value}} for value in values]}
