"""Plots and table of a diffusion comparison, and the input that they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
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
    """Class 1 is forgotten: a solid frame for a high probability of it, a dashed one if every probability is low."""
    order = [1, 0] if probabilities == [0.05, 0.95] else [0, 1]
    row = GeneratedRow(np.zeros((2, 8, 8)), np.array([[probabilities[i] for i in order]] * 2))
    plot_generated({"original": row}, tmp_path / "grid.png", forget_class=1)
    assert colours(tmp_path / "grid.png") & {ORANGE, SKY} == framed


def test_rows_must_show_the_same_noise(tmp_path: Path) -> None:
    rows = {name: GeneratedRow(np.zeros((n, 8, 8)), np.ones((n, 2)) / 2) for name, n in (("a", 2), ("b", 3))}
    with pytest.raises(ValueError, match=r"the same number of images for every model, got \[2, 3\]"):
        plot_generated(rows, tmp_path / "grid.png", forget_class=1)
    with pytest.raises(ValueError, match="the same number of images"):
        plot_generated({}, tmp_path / "grid.png", forget_class=1)


def test_curves_are_drawn_and_empty_histories_are_refused(tmp_path: Path) -> None:
    points = [{"step": step, "eval_forget_ratio": 10.0 - step, "eval_kid": 0.1 * step} for step in range(3)]
    plot_forgetting({"InvWNN": points}, tmp_path / "curves.png", features="some layer")
    assert BLUE in colours(tmp_path / "curves.png")
    for empty in ({}, {"InvWNN": []}):
        with pytest.raises(ValueError, match="there is no curve to draw"):
            plot_forgetting(empty, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_ruined_run_does_not_squash_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KID has a logarithmic axis where it needs one, and where it has only positive values."""
    scales: list[str] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, path: scales.append(figure.axes[1].get_yscale()) or save(figure, path)
    )
    for worst in (0.5, 30.0, -0.1):
        points = [
            {"step": step, "eval_forget_ratio": 5.0, "eval_kid": kid} for step, kid in enumerate((0.3, 0.4, worst))
        ]
        plot_forgetting({"InvWNN": points}, tmp_path / "curves.png")
    assert scales == ["linear", "log", "linear"]


def test_the_table_has_a_row_for_the_start_and_each_method() -> None:
    original = {"forget_ratio": 9.8, "kid": 0.3, "kid_std": 0.05}
    unlearned = {"forget_ratio": 1.0, "kid": 0.4, "kid_std": 0.06, "tried": 8, "steps": 70, "seconds": 12.4}
    assert forgetting_table({"InvWNN": [unlearned]}, original).splitlines()[2:] == [
        "| original |  | 9.80 | 0.300 ± 0.050 |  |  |",
        "| InvWNN | 8 | 1.00 | 0.400 ± 0.060 | 70 | 12 |",
    ]
    seeds = [unlearned, {**unlearned, "forget_ratio": 0.0, "kid": 0.6, "steps": 90}]
    # The deviation of two values is their distance by the root of two.
    assert forgetting_table({"InvWNN": seeds}, original).splitlines()[2:] == [
        "| original |  | 9.80 | 0.300 ± 0.050 |  |  |",
        "| InvWNN | 8 | 0.50 ± 0.71 | 0.500 ± 0.141 | 80 | 12 |",
    ]
