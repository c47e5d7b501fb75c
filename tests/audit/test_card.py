"""The cards of unlearned models: metadata, table, arguments and limits come from the record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from hf_invwnn.audit.card import unlearned_card
from hf_invwnn.audit.record import make_record, read_record, write_record
from hf_invwnn.audit.report import write_report
from hf_invwnn.metrics import METRICS


@pytest.fixture
def record(finished_run: Path) -> dict[str, Any]:
    return read_record(finished_run)


def test_the_card_of_a_run_has_metadata_arguments_and_limits(record: dict[str, Any]) -> None:
    record["model"] = {"base_model": "ada/classifier", "datasets": ["ada/digits"], "license": "mit"}
    card = ModelCard(str(unlearned_card(record, "ada/forgotten", task="image-classification")))
    data = card.data.to_dict()
    assert (data["license"], data["library_name"], data["base_model"]) == ("mit", "transformers", "ada/classifier")
    assert data["pipeline_tag"] == "image-classification"
    assert data["datasets"] == ["ada/digits"] and "machine-unlearning" in data["tags"]
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "forgotten" and len(results) == 10
    assert {result.dataset_type for result in results} == {"ada/digits"}
    arguments = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card.text, flags=re.DOTALL)[1])
    assert {name: record["arguments"][name] for name in arguments if name != "method"} | {
        "method": "InvWNN"
    } == arguments
    assert {"num_rewinds", "num_snapshots", "learning_rate", "target_ua"} <= set(arguments)
    assert "seed" not in str(card)
    for text in (
        "approximate unlearning",
        "neither a proof nor a legal guarantee",
        "was not used",
        "all 2 rounds are done",
    ):
        assert text in card.text


def test_the_table_has_every_measured_metric_of_the_catalogue(record: dict[str, Any]) -> None:
    record["metrics"]["unlearned"] |= {"forget_clean": 40.0, "attack_success": 12.5}
    text = unlearned_card(record, "ada/forgotten").text
    header, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    titles = [METRICS[name].title for name in ("RA", "UA", "TA", "MIA", "loss_auc", "forget_clean", "attack_success")]
    assert header == f"| model | {' | '.join(titles)} |"
    assert [row.split(" | ")[0] for row in rows] == ["| original", "| unlearned", "| retrained"]
    assert rows[1].endswith("| 40.00 | 12.50 |") and rows[0].endswith("|  |  |")
    assert f"| {record['metrics']['unlearned']['loss_auc']:.3f} |" in rows[1]


def test_the_size_of_the_set_of_unseen_examples_is_on_the_card(record: dict[str, Any]) -> None:
    """A single evaluation set is recorded under the name `unseen`."""
    record["counts"] = {"forget": 32, "unseen": 200}
    assert "Measured on 32 forget, 200 unseen examples." in unlearned_card(record, "ada/forgotten").text


def test_a_run_without_measurements_has_a_card_and_a_report(tmp_path: Path) -> None:
    """As that of an unlearner without evaluation sets."""
    record = make_record(
        outcome="no target",
        method="InvWNN",
        arguments={},
        forget={"count": None},
        counts={},
        stopping={"reason": "all 2 rounds are done", "rules": []},
        metrics={},
        cost={},
        files={},
    )
    text = str(unlearned_card(json.loads(json.dumps(record)), "ada/forgotten"))
    assert "Nothing was measured." in text and "the run did not record it" in text and "an unrecorded number" in text
    write_record(record, tmp_path)
    write_report(tmp_path, tmp_path / "page.html")
    assert "Nothing was measured." in (tmp_path / "page.html").read_text()
