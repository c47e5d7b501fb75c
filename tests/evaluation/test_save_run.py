"""After a run, its folder has the model, the record, the results and the private artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from pyarrow.parquet import read_table
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_invwnn.audit.private import commitment
from hf_invwnn.audit.record import read_record, read_whole_record
from hf_invwnn.audit.tables import RESULT_METRICS, results_table
from hf_invwnn.files import read_json_object
from hf_invwnn.metrics import MODELS, retraining_distance
from hf_invwnn.scenarios import UnlearningSplits


def test_results_and_record_have_the_same_metrics(finished_run: Path, marked_splits: UnlearningSplits) -> None:
    results, record = read_json_object(finished_run / "results.json"), read_whole_record(finished_run)
    assert {name: results[name] for name in MODELS} == record["metrics"]
    assert results["stopped"] == record["stopping"]["reason"]
    assert results["history"] == read_record(finished_run)["history"], "rounded, as beside the model"
    assert results["splits"] == json.loads(json.dumps(marked_splits.summary()))
    assert record["forget"]["commitment"] == commitment(finished_run, marked_splits.forget_indices)
    for name in ("results.json", "unlearning.json"):
        assert marked_splits.sha256 not in (finished_run / name).read_text()
    unlearned, retrained = ([results[name][metric] for metric in RESULT_METRICS] for name in MODELS[1:])
    assert results["distance"] == retraining_distance(unlearned, retrained, RESULT_METRICS)
    assert (finished_run / "results.md").read_text() == results_table(results) + "\n"


def test_the_facts_of_the_caller_are_recorded(finished_run: Path) -> None:
    record = read_record(finished_run)
    assert record["stopping"]["retrained_used"] is False and record["model"]["license"] == "apache-2.0"


def test_the_model_and_its_processor_can_be_loaded_and_the_curves_opened(finished_run: Path) -> None:
    assert AutoModelForImageClassification.from_pretrained(finished_run).config.num_labels == 10
    AutoImageProcessor.from_pretrained(finished_run, backend="pil")
    with Image.open(finished_run / "curves.png") as picture:
        assert picture.width > 600


def test_the_other_models_the_splits_and_the_results_of_examples_are_private(
    finished_run: Path, marked_splits: UnlearningSplits
) -> None:
    private = finished_run / "_private"
    for name in ("original", "retrained"):
        AutoModelForImageClassification.from_pretrained(private / name)
        AutoImageProcessor.from_pretrained(private / name, backend="pil")
    assert not (private / "unlearned").exists()
    assert UnlearningSplits.load_from_disk(private / "splits").forget_indices == marked_splits.forget_indices
    columns = read_table(private / "per_example.parquet").to_pydict()
    assert columns["row"] == list(marked_splits.forget_indices)
    pairs = list(zip(columns["label"], columns["unlearned_prediction"], strict=True))
    wrong = sum(label != prediction for label, prediction in pairs)
    assert read_record(finished_run)["metrics"]["unlearned"]["UA"] == pytest.approx(100 * wrong / len(pairs))
    for name in ("results.json", "results.md", "unlearning.json"):
        assert "forget_indices" not in (finished_run / name).read_text()
