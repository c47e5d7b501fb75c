"""The pages of comparisons are what `hf-invwnn compare --table` makes of the recorded results, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_invwnn.benchmark import comparison_page, read_results, read_settings


RECIPES = Path(__file__).parents[2] / "recipes" / "image_classification"
RESULTS = sorted((RECIPES / "results").glob("compare_*.json"))


def test_there_are_recorded_results() -> None:
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_page_is_made_from_its_results_and_those_are_of_its_config(path: Path) -> None:
    config = RECIPES / "configs" / "compare" / f"{path.stem.removeprefix('compare_')}.yaml"
    results = read_results(path, read_settings(config))
    assert path.with_suffix(".md").read_text() == comparison_page(results, f"{path.stem}.png")
    assert path.with_suffix(".png").stat().st_size > 10_000
