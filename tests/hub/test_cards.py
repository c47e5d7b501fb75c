"""Cards are valid, say what the record says, and leave alone what somebody else wrote."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from helpers import build_predictor
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from hf_invwnn.hub.cards import BEGIN, END, merge_card
from hf_invwnn.audit.card import unlearned_card
from hf_invwnn.cli.push import collect_contents
from hf_invwnn.audit.record import make_record, read_record, recorded_arguments, write_record
from hf_invwnn.audit.report import gather_report, render_report, write_report


ROOT = Path(__file__).parents[2]


@pytest.fixture
def record(finished_run: Path) -> dict[str, Any]:
    return read_record(finished_run)


def test_a_card_of_a_run_has_all_the_metadata_and_the_limits(record: dict[str, Any]) -> None:
    record["model"] = {"base_model": "ada/classifier", "datasets": ["ada/digits"], "license": "mit"}
    card = ModelCard(str(unlearned_card(record, "ada/forgotten", task="image-classification")))
    data = card.data.to_dict()
    assert (data["license"], data["library_name"], data["base_model"]) == ("mit", "transformers", "ada/classifier")
    assert data["pipeline_tag"] == "image-classification"
    assert data["datasets"] == ["ada/digits"] and "machine-unlearning" in data["tags"]
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "forgotten" and len(results) == 10
    assert {result.dataset_type for result in results} == {"ada/digits"}
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card.text, flags=re.DOTALL)[1])
    assert {name: record["arguments"][name] for name in shown if name != "method"} | {"method": "InvWNN"} == shown
    assert {"num_rewinds", "num_snapshots", "learning_rate", "target_ua", "seed"} <= set(shown)
    for said in ("approximate unlearning", "no legal guarantee", "was not used", "all 2 rewinds are done"):
        assert said in card.text


def test_a_card_of_a_pipeline_without_a_record_does_not_claim_anything(tmp_path: Path) -> None:
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    found = collect_contents(tmp_path, "ada/pipeline")
    assert set(found.files) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    }
    assert "No record of a run" in found.card.text and found.card.data.to_dict()["library_name"] == "diffusers"


def test_what_is_around_the_markers_stays(record: dict[str, Any]) -> None:
    card = unlearned_card(record, "ada/forgotten")
    old = f"---\nlicense: mit\nlanguage: de\ntags: [mine]\n---\nAbove.\n{BEGIN}\nold\n{END}\nBelow.\n"
    new = ModelCard(merge_card(old, card))
    assert new.text.strip().startswith("Above.") and new.text.strip().endswith("Below.")
    assert "old" not in new.text[: new.text.index("##")]
    data = new.data.to_dict()
    assert (data["license"], data["language"]) == ("mit", "de")
    assert data["tags"] == ["mine", "machine-unlearning", "hf-invwnn"]
    assert merge_card(merge_card(old, card), card) == merge_card(old, card), "a second push changes nothing"


def test_a_card_without_markers_gets_the_section_at_its_end(record: dict[str, Any]) -> None:
    new = merge_card("---\nlicense: mit\n---\n# Mine\n\nText.\n", unlearned_card(record, "ada/forgotten"))
    assert new.index("Text.") < new.index(BEGIN) < new.index(END)


@pytest.mark.parametrize("text", [f"---\nlicense: mit\n---\n{BEGIN}", f"---\nlicense: mit\n---\n{END}\n{BEGIN}"])
def test_a_card_with_half_of_the_markers_is_not_touched(text: str, record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only one of the markers"):
        merge_card(text, unlearned_card(record, "ada/forgotten"))


@pytest.mark.parametrize("text", ["---\na: [\n---\n", "---\n- a\n---\n"])
def test_a_card_whose_metadata_cannot_be_read_is_not_touched(text: str, record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="metadata"):
        merge_card(text, unlearned_card(record, "ada/forgotten"))


@pytest.mark.parametrize("path", sorted((ROOT / "model_cards").glob("*.md")), ids=lambda path: path.stem)
def test_the_cards_of_what_is_released_are_valid(path: Path) -> None:
    card = ModelCard.load(path)
    assert card.data.to_dict()["license"] == "apache-2.0" and "machine-unlearning" in card.data.tags


def test_a_record_keeps_places_and_accounts_to_itself() -> None:
    given = {"output_dir": "/home/ada", "hub_token": "hf_x", "run_name": "ada", "deepspeed": "/home/ada/zero.json"}
    assert recorded_arguments({**given, "seed": 1, "optim": object()}) == {
        "deepspeed": "zero.json",
        "seed": 1,
        "optim": "object",
    }


def test_the_seed_that_drew_the_forget_set_is_not_published(finished_run: Path, tmp_path: Path) -> None:
    """With it and the data, anybody could draw the same examples."""
    shutil.copytree(finished_run, tmp_path / "run")
    record = read_record(finished_run)
    record["forget"]["seed"] = 271828
    write_record(record, tmp_path / "run")
    sent = collect_contents(tmp_path / "run", "ada/forgotten")
    report = gather_report(tmp_path / "run")
    for text in (sent.files["unlearning.json"].decode(), str(sent.card), json.dumps(report), render_report(report)):
        assert "271828" not in text
    assert gather_report(tmp_path / "run", show_ids=True)["forget"]["seed"] == 271828


@pytest.mark.parametrize(
    ("change", "match"),
    [({"metrics": {"later": {}}}, "`metrics` must be of"), ({"forget": {"indices": [1]}}, "`forget` may hold")],
)
def test_a_record_holds_nothing_else(change: dict[str, Any], match: str) -> None:
    parts: dict[str, Any] = {name: {} for name in ("arguments", "forget", "counts", "stopping", "metrics", "cost")}
    with pytest.raises(ValueError, match=match):
        make_record(method="InvWNN", files={}, **{**parts, **change})


def test_a_run_that_was_hardly_measured_has_a_card_and_a_report(finished_run: Path, tmp_path: Path) -> None:
    """As an unlearner without evaluation sets leaves it."""
    record = make_record(
        method="InvWNN",
        arguments={},
        forget={"count": None},
        counts={},
        stopping={"reason": "all 2 rewinds are done", "rules": []},
        metrics={},
        cost={},
        files={},
    )
    text = str(unlearned_card(json.loads(json.dumps(record)), "ada/forgotten"))
    assert "Nothing was measured." in text and "the run does not say" in text and "an unrecorded number" in text
    write_record(record, tmp_path)
    write_report(tmp_path, tmp_path / "page.html")
    assert "Nothing was measured." in (tmp_path / "page.html").read_text()


FROM_A_WHEEL = """
import sys
import hf_invwnn
assert hf_invwnn.__file__.startswith(sys.argv[1]), hf_invwnn.__file__
from hf_invwnn.cli import main
from hf_invwnn.sharing import collect_contents
assert "no legal guarantee" in collect_contents(sys.argv[2], "ada/forgotten").card.text
assert "Predicts what a weight was" in collect_contents(sys.argv[3], "ada/predictor").card.text
assert main(["report", sys.argv[2], "--html", sys.argv[1] + "/page.html"]) == 0
"""


def test_cards_and_reports_work_from_an_installed_wheel(finished_run: Path, tmp_path: Path) -> None:
    """The templates are in it."""
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
