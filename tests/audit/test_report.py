"""The report has the numbers of the record, needs no other file, and does not reveal the rows of the forget set."""

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

from hf_invwnn.audit.examples import hidden_id
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main
from hf_invwnn.metrics import METRICS


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Text, table cells, tags and identifiers of a page, and the addresses it would fetch."""

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


def test_the_page_needs_no_network_and_no_other_file(written: Path, page: Page) -> None:
    html = written.read_text()
    assert page.fetched == ["data:,"], "an empty icon, so that browsers do not request one"
    assert {"script", "iframe", "object", "embed", "img", "form"} & set(page.tags) == set()
    assert re.findall(r"@import|url\((?![#'\"]*(?:#|accuracy-|loss-))", html) == []
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, (
        "namespaces are names, nothing is fetched from them"
    )
    assert written.stat().st_size < 2_000_000


def test_the_page_adapts_to_phones_paper_and_dark_mode(written: Path, page: Page) -> None:
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
    counts = {"UA": 12, "RA": 108, "TA": 80, "MIA": 12}
    for name in ("original", "unlearned", "retrained"):
        cells = dict(zip(header, next(row for row in page.cells if row[:1] == [name]), strict=True))
        for metric, count in counts.items():
            share, z = record["metrics"][name][metric] / 100, norm.ppf(0.975)
            middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
            half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
            low, high = 100 * (middle - half), 100 * (middle + half)
            numbers = re.fullmatch(r"(\d+\.\d)(\d+\.\d) to (\d+\.\d)", cells[metric])
            assert numbers is not None, cells[metric]
            assert [float(number) for number in numbers.groups()] == pytest.approx([100 * share, low, high], abs=0.06)


def test_the_page_has_request_run_files_settings_and_limits(page: Page, record: dict[str, Any]) -> None:
    texts = [record["forget"]["commitment"], record["stopping"]["reason"], "12 training examples"]
    texts += ["num_rewinds", "torch"]
    texts += [
        *record["files"],
        *record["files"].values(),
        "neither a proof nor a legal guarantee",
        "was not used",
        "approximate unlearning",
    ]
    assert [text for text in texts if text not in page.text] == []


def test_the_title_and_the_meaning_of_each_metric_come_from_the_catalogue(page: Page) -> None:
    for name in ("RA", "UA", "TA", "MIA"):
        assert METRICS[name].title in page.text and METRICS[name].meaning in page.text


def test_the_report_does_not_reveal_the_rows_of_the_forget_set(written: Path, finished_run: Path) -> None:
    """Rows appear as keyed hashes in the order of the hashes; file names of examples do not appear."""
    report = json.loads(written.with_suffix(".json").read_text())
    assert report["examples"]["count"] == len(FORGET)
    key = (finished_run / "_private" / "salt").read_bytes()
    hidden = [example["id"] for example in report["examples"]["rows"]]
    assert hidden == sorted(hidden) and set(hidden) <= {hidden_id(row, key) for row in FORGET}
    assert hidden_id(FORGET[0], b"another key") not in {hidden_id(row, key) for row in FORGET}
    for text in (written.read_text(), written.with_suffix(".json").read_text()):
        assert MARK not in text and key.decode() not in text and str(finished_run) not in text


def test_show_ids_shows_the_rows(finished_run: Path, tmp_path: Path) -> None:
    assert main(["report", str(finished_run), "--html", str(tmp_path / "own.html"), "--show-ids"]) == 0
    report = json.loads((tmp_path / "own.json").read_text())
    rows = report["examples"]["rows"]
    assert sorted(int(example["id"]) for example in rows) == list(FORGET)
    sure = [example["unlearned"]["confidence"] for example in rows]
    assert sure == sorted(sure, reverse=True), "the worst first"
    assert "This table is private." in (tmp_path / "own.html").read_text()


def test_a_run_without_its_private_folder_has_a_report(finished_run: Path, tmp_path: Path) -> None:
    """As in a downloaded model."""
    shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("_private"))
    assert main(["report", str(tmp_path / "run"), "--html", str(tmp_path / "page.html")]) == 0
    assert "Per-example results were not saved with this run." in (tmp_path / "page.html").read_text()


def test_markup_in_a_record_is_escaped(finished_run: Path, tmp_path: Path) -> None:
    """A downloaded record may hold anything."""
    shutil.copytree(finished_run, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "unlearning.json").read_text())
    record["stopping"]["reason"] = record["method"] = "<script>alert(1)</script>"
    (tmp_path / "run" / "unlearning.json").write_text(json.dumps(record))
    assert main(["report", str(tmp_path / "run"), "--html", str(tmp_path / "page.html")]) == 0
    assert "script" not in Page((tmp_path / "page.html").read_text()).tags


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["report", "{empty}", "--html", "{empty}/out.html"], "is not a finished run"),
        (["report", "{run}", "--html", "{empty}/out.json"], "must not end in .json"),
        (["report", "{old}", "--html", "{empty}/out.html"], "has format_version 0"),
        (["verify", "{empty}"], "is not a finished run"),
        (["verify", "{old}"], "has format_version 0"),
        (["verify", "{run}", "--tolerance", "-1"], "`tolerance` must be a finite number of 0 or above"),
        (["verify", "{run}", "--tolerance", "inf"], "`tolerance` must be a finite number of 0 or above"),
        (["verify", "{run}", "--tolerance", "nan"], "`tolerance` must be a finite number of 0 or above"),
        (["report", "{run}", "--html", "{empty}"], "is a folder; name a file"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    words: list[str], match: str, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"empty": tmp_path / "empty", "old": tmp_path / "old", "run": finished_run}
    for name in ("empty", "old"):
        folders[name].mkdir()
    (folders["old"] / "unlearning.json").write_text('{"format_version": 0}')
    assert main([word.format(**folders) for word in words]) == EXIT_BAD_INPUT
    assert match in capsys.readouterr().err
    assert list(folders["empty"].iterdir()) == []


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser")
def test_a_browser_renders_the_page_without_an_error(written: Path, tmp_path: Path) -> None:
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
