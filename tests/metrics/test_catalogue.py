"""The catalogue describes every metric that records, cards, reports, tables and verification use."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from hf_invwnn.audit.report import TABLE_METRICS
from hf_invwnn.audit.tables import LEGEND, RESULT_METRICS
from hf_invwnn.audit.verify import RECOMPUTED
from hf_invwnn.metrics import METRICS, MODELS, Metric, unlearning_metrics
from hf_invwnn.metrics.arrays import SPLITS
from hf_invwnn.metrics.catalogue import metrics_in
from hf_invwnn.metrics.retraining_distance import NAMES
from hf_invwnn.trainer.record import metrics_of


LOSSES = ("forget_loss", "unseen_loss", "forget_perplexity", "unseen_perplexity")


@pytest.mark.parametrize("name", METRICS)
def test_every_field_of_a_metric_is_filled(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert all(getattr(metric, item.name) != "" for item in fields(Metric) if item.name not in ("unit", "legend"))
    assert metric.split in (*SPLITS, "generated")
    assert metric.unit in ("%", "")
    assert metric.goal in ("higher", "lower", "retrained")
    assert 0 <= metric.digits <= 4
    assert set(metric.tables) <= {"results", "report", "comparison"}


def test_titles_and_meanings_are_distinct() -> None:
    """A table with two columns of one title could not be read."""
    for attribute in ("title", "meaning"):
        assert len({getattr(metric, attribute) for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.parametrize(
    "used",
    [TABLE_METRICS, RESULT_METRICS, RECOMPUTED, NAMES],
    ids=["report", "tables", "verify", "distance"],
)
def test_the_metrics_of_reports_tables_and_verification_are_in_it(used: tuple[str, ...]) -> None:
    assert set(used) <= set(METRICS)


def test_tables_have_the_columns_that_the_catalogue_names() -> None:
    main = ("RA", "UA", "TA", "MIA")
    assert metrics_in("results") == RESULT_METRICS == main
    assert metrics_in("report") == TABLE_METRICS == (*main, "forget_ratio", "kid", *LOSSES)
    assert metrics_in("comparison") == (*main, "loss_auc", "forget_clean", "attack_success")
    assert set(RECOMPUTED) == {*main, "loss_auc"}


def test_every_column_of_the_results_is_explained() -> None:
    assert all(METRICS[name].title in LEGEND for name in RESULT_METRICS)


def test_the_metrics_of_an_evaluation_are_in_it() -> None:
    """Except the bounds of the interval of the loss AUC."""
    logits = {split: np.eye(3) for split in SPLITS}
    names = set(unlearning_metrics(logits, {split: [0, 1, 1] for split in SPLITS}))
    assert names - set(METRICS) == {"loss_auc_low", "loss_auc_high"}
    assert set(RECOMPUTED) <= names


def test_the_metrics_that_a_run_records_by_itself_are_in_it() -> None:
    """Losses and perplexities too, of language models."""
    accuracies = {"eval_test_accuracy": 0.5, "eval_retain_accuracy": 0.9, "eval_forget_loss": 1.0}
    point = {"ua": 75.0, **accuracies, "eval_forget_ratio": 3.0, "eval_kid": 0.02}
    recorded = metrics_of([point, point])
    assert set(recorded) == set(MODELS) and recorded["retrained"] is None
    assert set(recorded["original"] or {}) == {"UA", "TA", "RA", "forget_ratio", "kid"}
    texts = metrics_of([{**point, "eval_unseen_loss": 2.0}] * 2, head="next token")
    assert set(LOSSES) <= set(texts["original"] or {}) <= set(METRICS)


def test_the_models_are_named_once() -> None:
    assert MODELS == ("original", "unlearned", "retrained")


def test_values_have_the_digits_of_the_metric() -> None:
    assert METRICS["UA"].format(75.678) == "75.68" and METRICS["loss_auc"].format(0.12345) == "0.123"
    assert METRICS["TA"].format(-1.5, "+") == "-1.50" and METRICS["TA"].format(1.5, "+") == "+1.50"
    assert METRICS["kid"].format(None) == ""
