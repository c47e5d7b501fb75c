"""The report of a run: one HTML page for the person who requested the deletion, and the same as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files import atomic_write, write_json
from ..metrics.catalogue import METRICS, MODELS, metrics_in
from ..metrics.intervals import share_interval
from .charts import accuracy_curve, loss_curve
from .examples import BAND_NAMES, LEAST_SHARED, ROWS_SHOWN, hidden_id, shown_examples
from .public import LEAST_EXAMPLES
from .record import publishable, read_record, read_whole_record


LIMITS = (
    "This is approximate unlearning, evaluated by the measurements on this page only.",
    "It is neither a proof nor a legal guarantee that the weights hold nothing of the forget set.",
    "Other attacks may extract more; fine-tuning on similar data may restore what was forgotten.",
    "The attack uses the test set as data the model never saw; test accuracy is measured on the same examples.",
    "The 95 % intervals cover the sampling of examples; runs with other seeds vary as well.",
    "Copies of the original model and checkpoints of the run still contain the forget set.",
)
SIZE_LIMIT = 2_000_000
TABLE_METRICS = metrics_in("report")
# The first key of the JSON, and a tag of the page, by which a report is told from another file.
KIND = "hf-invwnn report"
_OUTCOMES = {
    "reached": "The run reached its target.",
    "target not reached": "The run fell short of its target: it ended before the examples were forgotten as far as "
    "was asked.",
    "unchanged": "The run did not change the model: nothing was forgotten.",
    "no target": "The run had a fixed number of rounds; no rule said how far the examples were to be forgotten.",
}
_COUNTED = ("forget", "retain", "test", "unseen")


def write_report(run: str | os.PathLike, html: str | os.PathLike, show_ids: bool = False) -> dict[str, Any]:
    """
    Writes the report of a finished run as one self-contained page, and the same as JSON beside it.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        html (`str` or `os.PathLike`): The page; the JSON has the same name with the suffix `.json`.
        show_ids (`bool`, defaults to `False`): Show rows, labels, predictions and confidences of the forget set, for
            the holder; by default examples have keyed hashes and bands, see [`shown_examples`].

    Returns:
        `dict`: The content of the JSON file. Both files have at most `ROWS_SHOWN` examples; all are in the private
        folder of the run.

    Raises:
        FileNotFoundError, ValueError: The record is missing, damaged or has another version; or `html` is a folder,
            ends in `.json`, or would replace a file that is not a report.
    """
    page = Path(html)
    if page.suffix == ".json":
        raise ValueError(f"`html` must not end in .json, got `{page}`; the JSON is written beside the page.")
    for path in (page, page.with_suffix(".json")):
        _refuse_other_file(path)
    report = gather_report(run, show_ids)
    page.parent.mkdir(parents=True, exist_ok=True)
    text = render_report(report)
    if len(text.encode()) > SIZE_LIMIT:
        raise ValueError(f"The page would have {len(text.encode()):,} bytes, more than {SIZE_LIMIT:,}.")
    atomic_write(page, text)
    write_json(report, page.with_suffix(".json"))
    return report


def gather_report(run: str | os.PathLike, show_ids: bool = False) -> dict[str, Any]:
    """
    The content of a report: without `show_ids` from the public part of the record of a run, otherwise from the whole
    record and the private folder, if there is one.
    """
    record = read_whole_record(run) if show_ids else publishable(read_record(run))
    return {
        "kind": KIND,
        "outcome": record["outcome"],
        "format_version": record["format_version"],
        "private": show_ids,
        "method": record["method"],
        "forget": record["forget"],
        "counts": record["counts"],
        "stopping": record["stopping"],
        "changes": record["changes"],
        "cost": record["cost"],
        "predictor": record["predictor"],
        "recovery": record["recovery"],
        "table": _table(record),
        "membership": _membership(record),
        "history": record["history"],
        "examples": shown_examples(run, record, show_ids),
        "arguments": record["arguments"],
        "versions": record["versions"],
        "files": record["files"],
        "limits": list(LIMITS),
    }


def _refuse_other_file(path: Path) -> None:
    """
    Raises:
        ValueError: The path is a folder, or a file that is not a report.
    """
    if path.is_dir():
        raise ValueError(f"`html`: `{path}` is a folder; name a file.")
    if path.exists() and KIND not in path.read_bytes()[:1000].decode(errors="replace"):
        raise ValueError(f"`html`: `{path}` exists and is not a report; name another file, or remove it.")


def render_report(report: Mapping[str, Any]) -> str:
    """The report as HTML."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: "" if value is None else f"{value:.1f}"
    source = files(__package__).joinpath("templates").joinpath("report.html").read_text(encoding="utf-8")
    retrained = next((row["metrics"] for row in report["table"] if row["model"] == "retrained"), None)
    retrained_values = {name: metric["value"] for name, metric in retrained.items()} if retrained else None
    pictures = [
        (title, Markup(picture))
        for title, picture in (
            ("Accuracy while the model forgets", accuracy_curve(report["history"], retrained_values)),
            ("Losses after each round", loss_curve(report["history"])),
        )
        if picture
    ]
    return environment.from_string(source).render(
        report=report,
        model_names=MODELS,
        columns=[
            metric for metric in METRICS.values() if any(metric.name in row["metrics"] for row in report["table"])
        ],
        counted=", ".join(
            f"{report['counts'][name]} {name.replace('_', ' ')}" for name in _COUNTED if report["counts"].get(name)
        ),
        pictures=pictures,
        rows_shown=ROWS_SHOWN,
        band_names=BAND_NAMES,
        least_shared=LEAST_SHARED,
        least_examples=LEAST_EXAMPLES,
        summary=_summary(report),
    )


def _table(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in MODELS:
        if values := record["metrics"][name]:
            metrics = {
                metric.name: _with_interval(values[metric.name], metric.unit, _count(record["counts"], metric.split))
                for metric in METRICS.values()
                if metric.name in TABLE_METRICS and values.get(metric.name) is not None
            }
            rows.append({"model": name, "metrics": metrics})
    return rows


def _count(counts: Mapping[str, int], split: str) -> int | None:
    """Number of examples in a split; without a test set, TA is measured on the set of unseen examples."""
    return counts.get(split, counts.get("unseen") if split == "test" else None)


def _with_interval(value: float, unit: str, count: int | None) -> dict[str, Any]:
    """A value with its interval, if it is a share and the number of examples is known."""
    if unit == "%" and count:
        try:
            return share_interval(value, count)._asdict()
        except ValueError:
            pass
    return {"value": value, "low": None, "high": None, "examples": count}


def _membership(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in MODELS:
        values = record["metrics"][name] or {}
        if "loss_auc" in values:
            rows.append(
                {
                    "model": name,
                    "MIA": _with_interval(values["MIA"], "%", record["counts"].get("forget"))
                    if "MIA" in values
                    else None,
                    "auc": values["loss_auc"],
                    "auc_low": values.get("loss_auc_low"),
                    "auc_high": values.get("loss_auc_high"),
                }
            )
    return rows


def _summary(report: Mapping[str, Any]) -> list[str]:
    values = {row["model"]: row["metrics"] for row in report["table"]}
    count = report["forget"]["count"]
    number = count if count is not None else "An unrecorded number of"
    sentences = [_OUTCOMES[report["outcome"]], f"{number} training examples were to be forgotten."]
    if "UA" in values.get("unlearned", {}):
        accuracy = {name: 100 - metrics["UA"]["value"] for name, metrics in values.items() if "UA" in metrics}
        sentences.append(_accuracies_on_forget_set(accuracy))
    if "UA" not in values.get("unlearned", {}) and "forget_loss" in values.get("unlearned", {}):
        before, after = (values[name]["forget_loss"]["value"] for name in ("original", "unlearned"))
        sentences.append(f"Its loss on them went from {before:.2f} to {after:.2f}.")
    if "TA" in values.get("original", {}) and "TA" in values.get("unlearned", {}):
        before, after = (values[name]["TA"]["value"] for name in ("original", "unlearned"))
        sentences.append(f"Accuracy on examples it never saw went from {before:.1f} to {after:.1f} %.")
    return sentences


def _accuracies_on_forget_set(accuracy: Mapping[str, float]) -> str:
    parts: Sequence[str] = [
        f"{accuracy[name]:.1f} % of them {when}"
        for name, when in (("original", "before"), ("unlearned", "after unlearning"))
        if name in accuracy
    ]
    retrained = (
        f"; a model retrained without them predicts {accuracy['retrained']:.1f} %" if "retrained" in accuracy else ""
    )
    return f"The model predicted as labelled {', and '.join(parts)}{retrained}."


__all__ = ["gather_report", "hidden_id", "render_report", "write_report"]
