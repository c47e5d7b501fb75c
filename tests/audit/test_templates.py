"""The templates of cards and reports are installed with the package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import build_predictor


ROOT = Path(__file__).parents[2]


FROM_A_WHEEL = """
import sys
import hf_invwnn
assert hf_invwnn.__file__.startswith(sys.argv[1]), hf_invwnn.__file__
from hf_invwnn.cli.main import main
from hf_invwnn.cli.push import collect_contents
assert "neither a proof nor a legal guarantee" in collect_contents(sys.argv[2], "ada/forgotten").card.text
assert "Predicts what a weight was" in collect_contents(sys.argv[3], "ada/predictor").card.text
assert main(["report", sys.argv[2], "--html", sys.argv[1] + "/page.html"]) == 0
"""


@pytest.mark.slow
def test_cards_and_reports_work_from_an_installed_wheel(finished_run: Path, tmp_path: Path) -> None:
    """The wheel contains the templates."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    build_predictor(rewind_epochs=8).save_pretrained(tmp_path / "predictor")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n{FROM_A_WHEEL}"
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site"), str(finished_run), str(tmp_path / "predictor")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
