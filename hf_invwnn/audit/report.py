"""The report of a run: one HTML page for the person who requested the deletion, and the same as JSON."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files import atomic_write, write_json
from ..metrics.catalogue import METRICS, MODELS, metrics_in
from ..metrics.intervals import share_interval
from .charts import accuracy_curve, loss_curve
from .private import PER_EXAMPLE, SALT, private_folder
from .record import read_record


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
# The page shows at most this many examples; the JSON has all of them.
ROWS_SHOWN = 1000
_COUNTED = ("forget", "retain", "test", "unseen")


def write_report(run: str | os.PathLike, html: str | os.PathLike, show_ids: bool = False) -> dict[str, Any]:
    """
    Writes the report of a finished run as one self-contained page, and the same as JSON beside it.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        html (`str` or `os.PathLike`): The page; the JSON has the same name with the suffix `.json`.
        show_ids (`bool`, defaults to `False`): Show row numbers of the forget set instead of keyed hashes, which only
            the holder of the private folder can trace back.

    Returns:
        `dict`: The content of the JSON file.

    Raises:
        FileNotFoundError, ValueError: The record is missing, damaged or has another version; or `html` ends in
            `.json`.
    """
    page = Path(html)
    if page.suffix == ".json":
        raise ValueError(f"`html` must not end in .json, got `{page}`; the JSON is written beside the page.")
    report = gather_report(run, show_ids)
    page.parent.mkdir(parents=True, exist_ok=True)
    text = render_report(report)
    if len(text.encode()) > SIZE_LIMIT:
        raise ValueError(f"The page would have {len(text.encode()):,} bytes, more than {SIZE_LIMIT:,}.")
    atomic_write(page, text)
    write_json(report, page.with_suffix(".json"))
    return report


def gather_report(run: str | os.PathLike, show_ids: bool = False) -> dict[str, Any]:
    """The content of a report, from the record of a run and its private folder, if there is one."""
    record = read_record(run)
    return {
        "format_version": record["format_version"],
        "method": record["method"],
        # With the seed, anyone who has the data could draw the same examples.
        "forget": record["forget"] if show_ids else {**record["forget"], "seed": None},
        "counts": record["counts"],
        "stopping": record["stopping"],
        "cost": record["cost"],
        "predictor": record["predictor"],
        "table": _table(record),
        "membership": _membership(record),
        "history": record["history"],
        "examples": _examples(Path(run), record, show_ids),
        "ids": "rows" if show_ids else "keyed hashes",
        "arguments": record["arguments"],
        "versions": record["versions"],
        "files": record["files"],
        "limits": list(LIMITS),
    }


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


def _examples(run: Path, record: Mapping[str, Any], show_ids: bool) -> list[dict[str, Any]]:
    path = private_folder(run) / PER_EXAMPLE
    if not path.is_file():
        return []
    from pyarrow.parquet import read_table

    rows = read_table(path).to_pylist()
    if len(rows) != record["forget"]["count"]:
        raise ValueError(f"`{path}` holds {len(rows)} examples, but the record counts {record['forget']['count']}.")
    key = (private_folder(run) / SALT).read_bytes()
    names = [name for name in MODELS if f"{name}_confidence" in rows[0]]
    examples = [
        {
            "id": str(row["row"]) if show_ids else hidden_id(row["row"], key),
            "label": row["label"],
            **{name: {what: row[f"{name}_{what}"] for what in ("prediction", "confidence", "loss")} for name in names},
        }
        for row in rows
    ]
    # In the order of the rows, the position of a hash would reveal its row.
    return examples if show_ids else sorted(examples, key=lambda example: example["id"])


def hidden_id(row: int, key: bytes) -> str:
    """Identifier of an example that reveals its row only to holders of the key (HMAC-SHA-256)."""
    return hmac.new(key, str(row).encode(), hashlib.sha256).hexdigest()[:12]


def _summary(report: Mapping[str, Any]) -> list[str]:
    values = {row["model"]: row["metrics"] for row in report["table"]}
    count = report["forget"]["count"]
    sentences = [
        f"{count if count is not None else 'An unrecorded number of'} training examples were to be forgotten."
    ]
    if "UA" in values.get("unlearned", {}):
        accuracy = {name: 100 - metrics["UA"]["value"] for name, metrics in values.items() if "UA" in metrics}
        sentences.append(_accuracies_on_forget_set(accuracy))
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
