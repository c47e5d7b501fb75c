"""The curves of a run as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from hf_invwnn.audit.charts import COLOURS, accuracy_curve, loss_curve, plot_curves


HISTORY = [
    {"ua": 1.0, "eval_test_accuracy": 0.8, "eval_retain_accuracy": 1.0},
    {"ua": 75.0, "eval_test_accuracy": 0.855, "eval_retain_accuracy": 0.98},
]


# ---- PNG ----


def test_the_curves_are_drawn_in_the_colours_of_the_palette(tmp_path: Path) -> None:
    plot_curves(HISTORY, tmp_path / "curves.png", retrained={"UA": 99.0, "TA": 95.0, "RA": 100.0}, title="digits")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 600
        colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=100_000)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_only_the_measured_accuracies_are_drawn(tmp_path: Path) -> None:
    only_test = [{key: value for key, value in point.items() if "retain" not in key} for point in HISTORY]
    plot_curves(only_test, tmp_path / "curves.png", retrained={"UA": 99.0, "TA": 95.0, "RA": 100.0})
    with Image.open(tmp_path / "curves.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(maxcolors=100_000)}
    assert (0x00, 0x72, 0xB2) in colours and (0xD5, 0x5E, 0x00) not in colours
    with pytest.raises(ValueError, match="neither a test nor a retain accuracy"):
        plot_curves([{"ua": 1.0}], tmp_path / "curves.png")


def test_the_end_of_a_recovery_is_a_symbol_of_its_own() -> None:
    """The line is that of the rewinding; the points within a recovery are not on it."""
    within = {"ua": 60.0, "eval_test_accuracy": 0.5, "eval_retain_accuracy": 0.5, "recovery": 10}
    end = {"ua": 70.0, "eval_test_accuracy": 0.87, "eval_retain_accuracy": 0.99, "recovery": 20}
    plain, recovered = accuracy_curve(HISTORY), accuracy_curve([*HISTORY, within, end])
    assert plain is not None and recovered is not None
    assert "test, recovered" in recovered and "retain, recovered" in recovered and "recovered" not in plain
    without = accuracy_curve([*HISTORY, end])
    assert recovered == without
    losses = loss_curve([{"round": 0, "eval_forget_loss": 1.0}, {"round": 1, "recovery": 5, "eval_forget_loss": 2.0}])
    assert losses is not None and "rounds, then recovery" in losses


def test_an_empty_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`history` is empty"):
        plot_curves([], tmp_path / "curves.png")


# ---- SVG ----


def test_the_accuracy_curve_is_an_svg_with_both_series_and_the_retrained_model() -> None:
    svg = accuracy_curve(HISTORY, {"UA": 99.0, "TA": 95.0, "RA": 100.0})
    assert svg is not None
    text = " ".join(ElementTree.fromstring(svg).itertext())
    for label in ("test accuracy", "retain accuracy", "retrained, test", "retrained, retain"):
        assert label in text
    assert all(colour.lower() in svg.lower() for colour in COLOURS[:2]) and "currentColor" in svg


def test_losses_are_drawn_over_the_rounds() -> None:
    """A point in the middle of a round, after bisection, lies between the rounds."""
    history = [
        {"round": 0, "eval_forget_loss": 0.1},
        {"round": 1, "eval_forget_loss": 1.0},
        {"round": 2, "eval_forget_loss": 1.5, "fraction": 0.5},
    ]
    svg = loss_curve(history)
    assert svg is not None
    root = ElementTree.fromstring(svg)
    text = " ".join(root.itertext())
    assert "rounds" in text and "forget" in text
    line = next(
        element.attrib["d"]
        for element in root.iter("{http://www.w3.org/2000/svg}path")
        if COLOURS[0].lower() in element.attrib.get("style", "").lower() and element.attrib["d"].count("L") == 2
    )
    x = [float(pair.split()[0]) for pair in line.replace("M", "").split("L")]
    assert x[2] - x[1] == pytest.approx((x[1] - x[0]) / 2, rel=1e-4)


def test_a_history_without_measurements_has_no_curve() -> None:
    assert accuracy_curve([]) is None and loss_curve([]) is None
    assert accuracy_curve([{"ua": 1.0, "round": 0}]) is None and loss_curve([{"ua": 1.0, "round": 0}]) is None
