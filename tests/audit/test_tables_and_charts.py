"""Tables and pictures say what was measured, and a results file is whole or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hf_invwnn.audit.charts import plot_curves
from hf_invwnn.audit.tables import markdown_table, results_table
from hf_invwnn.benchmark.equal_forgetting import at_ua
from hf_invwnn.files import read_results, write_json


RESULTS = {
    "pretrained": {"RA": 100.0, "UA": 1.0, "TA": 80.0, "MIA": 5.0, "seconds": 12.4},
    "unlearned": {"RA": 98.0, "UA": 75.0, "TA": 85.5, "MIA": 70.25, "seconds": 3.0},
}
HISTORY = [
    {"ua": 1.0, "eval_test_accuracy": 0.8, "eval_retain_accuracy": 1.0},
    {"ua": 75.0, "eval_test_accuracy": 0.855, "eval_retain_accuracy": 0.98},
]


def test_markdown_has_a_row_for_each_model_and_the_measured_numbers() -> None:
    lines = markdown_table(RESULTS).splitlines()
    assert lines[0] == "| model | RA | UA | TA | MIA | seconds |"
    assert lines[2:] == [
        "| pretrained | 100.00 | 1.00 | 80.00 | 5.00 | 12 |",
        "| unlearned | 98.00 | 75.00 | 85.50 | 70.25 | 3 |",
    ]


def test_the_terminal_table_has_the_same_rows() -> None:
    table = results_table(RESULTS, title="digits")
    assert table.row_count == 2
    assert [column.header for column in table.columns] == ["model", "RA", "UA", "TA", "MIA", "time (s)"]


def test_results_round_trip_and_leave_no_temporary_file(tmp_path: Path) -> None:
    write_json(RESULTS, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == RESULTS
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(("text", "message"), [("{", "no results file"), ('{"unlearned": {"RA": 1}}', "UA, TA, MIA")])
def test_a_broken_results_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path / "results.json")


def test_the_curve_is_a_picture_that_is_not_blank(tmp_path: Path) -> None:
    plot_curves(HISTORY, tmp_path / "curves.png", retrained={"UA": 99.0, "TA": 95.0, "RA": 100.0}, title="digits")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 600
        colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=100_000)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_a_curve_draws_what_there_is_to_draw(tmp_path: Path) -> None:
    only_test = [{key: value for key, value in point.items() if "retain" not in key} for point in HISTORY]
    plot_curves(only_test, tmp_path / "curves.png", retrained={"UA": 99.0, "TA": 95.0, "RA": 100.0})
    with Image.open(tmp_path / "curves.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=100_000)}
    assert (0x00, 0x72, 0xB2) in colours and (0xD5, 0x5E, 0x00) not in colours
    with pytest.raises(ValueError, match="neither a test nor a retain accuracy"):
        plot_curves([{"ua": 1.0}], tmp_path / "curves.png")


def test_a_curve_without_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`history` is empty"):
        plot_curves([], tmp_path / "curves.png")


CURVE = [
    {"ua": 0.0, "ta": 40.0, "only": 1.0},
    {"ua": 20.0, "ta": 44.0},
    {"ua": 10.0, "ta": 43.0},
    {"ua": 50.0, "ta": 39.0},
]


@pytest.mark.parametrize(("ua", "expected"), [(0.0, 40.0), (10.0, 42.0), (20.0, 44.0), (30.0, 41.0), (50.0, 39.0)])
def test_a_curve_is_read_off_where_it_first_gets_there(ua: float, expected: float) -> None:
    """Also one that turns back: 10 is first passed on the way to 20."""
    point = at_ua(CURVE, ua)
    assert point is not None and point["ta"] == pytest.approx(expected) and point["ua"] == pytest.approx(ua)


def test_a_level_that_was_not_reached_has_no_value() -> None:
    assert at_ua(CURVE, 50.1) is None
    with pytest.raises(ValueError, match="`history` is empty"):
        at_ua([], 50.0)
