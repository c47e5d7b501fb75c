"""Settings are chosen at the target, and grids are widened for all methods alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hf_invwnn.benchmark import MethodSweep
from hf_invwnn.benchmark.choosing import at_edge, choose, further_settings, is_allowed, sweep


def tried(**values: list[Any]) -> list[dict[str, Any]]:
    return MethodSweep("scrub", values).settings()


def test_a_value_between_others_is_at_no_edge() -> None:
    settings = tried(learning_rate=[1e-4, 1e-3, 1e-2], alpha=[0.5], optim=["sgd", "adamw"])
    assert at_edge({"learning_rate": 1e-3, "alpha": 0.5, "optim": "sgd"}, settings) == []
    assert at_edge({"learning_rate": 1e-4, "alpha": 0.5, "optim": "sgd"}, settings) == ["learning_rate"]


def test_the_grid_of_another_optimizer_does_not_count() -> None:
    settings = [*tried(optim=["sgd"], learning_rate=[0.01, 0.03, 0.1]), *tried(learning_rate=[1e-4, 1e-3, 1e-2])]
    assert at_edge({"optim": "sgd", "learning_rate": 0.01}, settings) == ["learning_rate"]
    assert at_edge({"learning_rate": 1e-2}, settings) == ["learning_rate"]
    assert at_edge({"learning_rate": 1e-3}, settings) == []


def test_what_reaches_the_target_is_chosen_by_validation_and_what_does_not_by_how_near_it_came() -> None:
    def result(validation: float | None, highest: float) -> dict[str, Any]:
        return {"validation": validation, "highest_ua": highest}

    near, far = ({"a": 1}, result(None, 19.0)), ({"a": 2}, result(None, 3.0))
    good, better = ({"a": 3}, result(70.0, 20.0)), ({"a": 4}, result(71.0, 60.0))
    assert choose([far, near]) == {"a": 1}
    assert choose([near, better, good]) == {"a": 4}


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e-4, [1e-5, 1e-6]), (1e-2, [0.1, 1.0]), (1e-3, [3.16e-4, 3.16e-3])],
    ids=["lower edge", "upper edge", "between"],
)
def test_further_values_follow_the_ratio_of_the_grid(value: float, expected: list[float]) -> None:
    settings = tried(learning_rate=[1e-4, 1e-3, 1e-2], alpha=[0.1, 0.9])
    chosen = {"learning_rate": value, "alpha": 0.9}
    added = further_settings(chosen, settings)
    assert [one["alpha"] for one in added] == [0.9, 0.9]
    assert [one["learning_rate"] for one in added] == pytest.approx(expected)


def test_a_value_that_is_not_allowed_is_replaced_by_one_between() -> None:
    """The largest residual scale is 10."""
    settings = tried(residual_scale=[2.0, 4.0, 8.0])
    added = further_settings({"residual_scale": 8.0}, settings, is_allowed)
    assert [one["residual_scale"] for one in added] == pytest.approx([5.66, 2.83])
    assert is_allowed({"residual_scale": 10.0}) and not is_allowed({"residual_scale": 16.0})


def test_whole_numbers_stay_whole() -> None:
    assert further_settings({"views": 8}, tried(views=[2, 4, 8])) == [{"views": 16}, {"views": 32}]


class Runs:
    """Validation accuracy is the less, the further the learning rate is from the best of a row."""

    def __init__(self, best: Mapping[str, float]) -> None:
        self.best, self.rounds = best, []  # type: ignore[var-annotated]

    def __call__(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
        self.rounds.append({name: len(settings) for name, settings in rows.items()})
        return {
            name: [
                {
                    "validation": 80 - abs(setting["learning_rate"] - self.best[name]),
                    "highest_ua": 50,
                    "passes": {"forward": 1, "backward": 1},
                }
                for setting in settings
            ]
            for name, settings in rows.items()
        }


def test_every_row_gets_as_many_further_settings_as_the_one_at_an_edge() -> None:
    rows = [
        MethodSweep("scrub", {"learning_rate": [1.0, 2.0, 4.0]}),
        MethodSweep("ssd", {"learning_rate": [1.0, 2.0, 4.0]}),
    ]
    runs = Runs({"scrub": 8, "ssd": 2})
    found = sweep(rows, 3, runs)
    assert runs.rounds == [{"scrub": 3, "ssd": 3}, {"scrub": 2, "ssd": 2}]
    assert found["scrub"]["setting"] == {"learning_rate": 8} and found["scrub"]["at_edge"] == []
    assert found["ssd"]["setting"] == {"learning_rate": 2}
    assert [one["tried"] for one in found.values()] == [5, 5]
    assert len(found["ssd"]["sweep"]) == 5


def test_a_choice_at_an_edge_after_the_last_widening_is_said() -> None:
    runs = Runs({"scrub": 1e9})
    found = sweep([MethodSweep("scrub", {"learning_rate": [1.0, 2.0, 4.0]})], 1, runs)
    assert found["scrub"]["setting"] == {"learning_rate": 16} and found["scrub"]["at_edge"] == ["learning_rate"]
    assert found["scrub"]["tried"] == 5
    assert sweep([MethodSweep("scrub", {"learning_rate": [1.0, 2.0, 4.0]})], 0, runs)["scrub"]["tried"] == 3
