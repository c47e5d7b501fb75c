"""The report says what the record says, to anybody, on any screen, and tells nobody which examples it is about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_runs import FORGET, MARK
from scipy.stats import norm

from hf_invwnn.audit.charts import accuracy_curve, loss_curve
from hf_invwnn.audit.report import hidden_id
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main
from hf_invwnn.metrics.intervals import share_interval


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What a reader of a page sees, what it is made of, and what it would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []
        self.cells: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "data", "action", "poster", "srcset") and value and value[0] != "#":
                self.fetched.append(value)
            if name == "id":
                self.ids.append(str(value))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if self.cells and self.cells[-1] and {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data


@pytest.fixture(scope="module")
def written(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("report") / "page.html"
    assert main(["report", str(finished_run), "--html", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written.read_text())


@pytest.fixture(scope="module")
def record(finished_run: Path) -> dict[str, Any]:
    return json.loads((finished_run / "unlearning.json").read_text())


def test_a_page_needs_no_network_and_no_other_file(written: Path, page: Page) -> None:
    html = written.read_text()
    assert page.fetched == ["data:,"], "an icon that browsers would ask for otherwise"
    assert {"script", "iframe", "object", "embed", "img", "form"} & set(page.tags) == set()
    assert re.findall(r"@import|url\((?![#'\"]*(?:#|accuracy-|loss-))", html) == []
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names of formats, not places"
    assert written.stat().st_size < 2_000_000


def test_it_is_made_for_phones_paper_and_the_dark(written: Path, page: Page) -> None:
    html = written.read_text()
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in html
    for query in ("prefers-color-scheme: dark", "@media print", "@media (max-width"):
        assert query in html
    assert html.count("currentColor") > 10, "the pictures take the colour of the text"
    assert page.tags.count("svg") == 2
    assert len(page.ids) == len(set(page.ids)), "two pictures share an identifier"


def test_each_number_is_that_of_the_record_with_its_interval(page: Page, record: dict[str, Any]) -> None:
    """Wilson's interval is computed here from its formula."""
    header = next(row for row in page.cells if row[:1] == ["model"])
    counts = {"UA": 6, "RA": 114, "TA": 80, "MIA": 6}
    for name, title in (("before", "before"), ("after", "after unlearning"), ("oracle", "retrained")):
        cells = dict(zip(header, next(row for row in page.cells if row[:1] == [title]), strict=True))
        for metric, count in counts.items():
            share, z = record["metrics"][name][metric] / 100, norm.ppf(0.975)
            middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
            half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
            low, high = 100 * (middle - half), 100 * (middle + half)
            shown = re.fullmatch(r"(\d+\.\d)(\d+\.\d) to (\d+\.\d)", cells[metric])
            assert shown is not None, cells[metric]
            assert [float(number) for number in shown.groups()] == pytest.approx([100 * share, low, high], abs=0.06)


def test_everything_that_was_asked_for_is_on_the_page(page: Page, record: dict[str, Any]) -> None:
    said = [record["forget"]["sha256"], record["stopping"]["reason"], "6 training examples", "num_rewinds", "torch"]
    said += [
        *record["files"],
        *record["files"].values(),
        "no legal guarantee",
        "was not used",
        "approximate unlearning",
    ]
    assert [what for what in said if what not in page.text] == []


def test_nobody_can_tell_which_examples_it_is_about(written: Path, finished_run: Path) -> None:
    """Their names are nowhere, their hashes need a key, and their order says nothing."""
    report = json.loads(written.with_suffix(".json").read_text())
    assert len(report["examples"]) == len(FORGET)
    key = (finished_run / "_private" / "salt").read_bytes()
    expected = sorted(hidden_id(row, key) for row in FORGET)
    assert [example["id"] for example in report["examples"]] == expected
    assert hidden_id(FORGET[0], b"another key") not in expected
    for text in (written.read_text(), written.with_suffix(".json").read_text()):
        assert MARK not in text and key.decode() not in text and str(finished_run) not in text


def test_the_owner_can_ask_for_the_rows(finished_run: Path, tmp_path: Path) -> None:
    assert main(["report", str(finished_run), "--html", str(tmp_path / "own.html"), "--show-ids"]) == 0
    report = json.loads((tmp_path / "own.json").read_text())
    assert [example["id"] for example in report["examples"]] == [str(row) for row in FORGET]


def test_a_run_without_its_private_folder_has_a_report_too(finished_run: Path, tmp_path: Path) -> None:
    """As somebody has who downloaded the model."""
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("_private"))
    assert main(["report", str(tmp_path / "run"), "--html", str(tmp_path / "page.html")]) == 0
    assert "were not kept with this run" in (tmp_path / "page.html").read_text()


def test_what_the_record_says_cannot_become_part_of_the_page(finished_run: Path, tmp_path: Path) -> None:
    """A record may come from anybody."""
    shutil.copytree(finished_run, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "unlearning.json").read_text())
    record["stopping"]["reason"] = record["method"] = "<script>alert(1)</script>"
    (tmp_path / "run" / "unlearning.json").write_text(json.dumps(record))
    assert main(["report", str(tmp_path / "run"), "--html", str(tmp_path / "page.html")]) == 0
    assert "script" not in Page((tmp_path / "page.html").read_text()).tags


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["report", "{empty}", "--html", "{empty}/out.html"], "is no finished run"),
        (["report", "{run}", "--html", "{empty}/out.json"], "must not end in .json"),
        (["report", "{old}", "--html", "{empty}/out.html"], "has format_version 0"),
        (["verify", "{empty}"], "is no finished run"),
        (["verify", "{old}"], "has format_version 0"),
        (["verify", "{run}", "--tolerance", "-1"], "`tolerance` must be 0 or above"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    words: list[str], match: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"empty": tmp_path / "empty", "old": tmp_path / "old", "run": finished_run}
    for name in ("empty", "old"):
        places[name].mkdir()
    (places["old"] / "unlearning.json").write_text('{"format_version": 0}')
    assert main([word.format(**places) for word in words]) == EXIT_BAD_INPUT
    assert match in capsys.readouterr().err
    assert list(places["empty"].iterdir()) == []


@pytest.mark.parametrize(("percent", "count"), [(50.0, 0), (-1.0, 10), (101.0, 10), (33.0, 10)])
def test_an_interval_of_what_is_no_share(percent: float, count: int) -> None:
    with pytest.raises(ValueError, match="must be a share of `count` examples"):
        share_interval(percent, count)


def test_without_points_there_is_no_picture() -> None:
    assert accuracy_curve([]) is None and loss_curve([]) is None
    assert accuracy_curve([{"ua": 1.0, "rewind": 0}]) is None and loss_curve([{"ua": 1.0, "rewind": 0}]) is None


@pytest.mark.skipif(CHROMIUM is None, reason="there is no browser here; what it would show is checked above")
def test_a_browser_shows_it_without_an_error(written: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    ended = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=420,3000", f"--screenshot={picture}"),
            written.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert [line for line in ended.stderr.splitlines() if "CONSOLE" in line] == []
    assert picture.stat().st_size > 20_000, "an empty page is smaller"
