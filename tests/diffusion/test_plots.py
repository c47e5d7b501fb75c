"""The pictures and the table of a diffusion comparison, and what they cannot be drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_invwnn.diffusion.plots import GeneratedRow, forgetting_table, plot_forgetting, plot_generated


def colours(path: Path) -> set[tuple[int, ...]]:
    return {colour for _, colour in Image.open(path).convert("RGB").getcolors(2**24)}


ORANGE, SKY, BLUE = (230, 159, 0), (86, 180, 233), (0, 114, 178)


@pytest.mark.parametrize(
    ("probabilities", "framed"),
    [([0.05, 0.95], set()), ([0.75, 0.25], {ORANGE}), ([0.5, 0.1], {SKY})],
)
def test_images_near_the_class_and_broken_ones_are_framed(
    probabilities: list[float], framed: set[tuple[int, ...]], tmp_path: Path
) -> None:
    """Class 1 is the forgotten one; of the two thresholds the first is for it, the second for any class."""
    order = [1, 0] if probabilities == [0.05, 0.95] else [0, 1]
    row = GeneratedRow(np.zeros((2, 8, 8)), np.array([[probabilities[i] for i in order]] * 2))
    plot_generated({"before": row}, tmp_path / "grid.png", forget_class=1)
    assert colours(tmp_path / "grid.png") & {ORANGE, SKY} == framed


def test_rows_must_show_the_same_noise(tmp_path: Path) -> None:
    rows = {name: GeneratedRow(np.zeros((n, 8, 8)), np.ones((n, 2)) / 2) for name, n in (("a", 2), ("b", 3))}
    with pytest.raises(ValueError, match=r"equally many images, got \[2, 3\]"):
        plot_generated(rows, tmp_path / "grid.png", forget_class=1)
    with pytest.raises(ValueError, match="equally many images"):
        plot_generated({}, tmp_path / "grid.png", forget_class=1)


def test_curves_are_drawn_and_nothing_is_refused(tmp_path: Path) -> None:
    points = [{"step": step, "eval_forget_ratio": 10.0 - step, "eval_kid": 0.1 * step} for step in range(3)]
    plot_forgetting({"InvWNN": points}, tmp_path / "curves.png", features="some layer")
    assert BLUE in colours(tmp_path / "curves.png")
    for empty in ({}, {"InvWNN": []}):
        with pytest.raises(ValueError, match="there is no curve to draw"):
            plot_forgetting(empty, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_table_has_a_row_for_the_start_and_each_method() -> None:
    before = {"forget_ratio": 9.8, "kid": 0.3, "kid_std": 0.05}
    found = {"forget_ratio": 1.0, "kid": 0.4, "kid_std": 0.06, "tried": 8, "steps": 70, "seconds": 12.4}
    assert forgetting_table({"InvWNN": found}, before).splitlines()[2:] == [
        "| before |  | 9.80 | 0.300 ± 0.050 |  |  |",
        "| InvWNN | 8 | 1.00 | 0.400 ± 0.060 | 70 | 12 |",
    ]
