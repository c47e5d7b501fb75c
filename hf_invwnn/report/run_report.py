"""The report of a run: one page to hand to whoever asked for the forgetting, and the same as JSON."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..private_files import PER_EXAMPLE, SALT, private_folder
from ..record import MODELS, read_record
from .intervals import share_interval
from .results import write_results
from .run_curves import accuracy_curve, loss_curve


TITLES = {"before": "before", "after": "after unlearning", "oracle": "retrained"}
METRICS: dict[str, tuple[str | None, str]] = {
    "UA": ("forget", "share of the forget set no longer predicted as labelled (100 - accuracy)"),
    "RA": ("retain", "accuracy on the retained training examples"),
    "TA": ("test", "accuracy on examples the model never saw"),
    "MIA": ("forget", "share of the forget set that a membership attack takes for data the model never saw"),
    "forget_ratio": (None, "share of generated images that a classifier takes for what was to be forgotten"),
    "kid": (None, "how far generated images are from those that were kept (kernel inception distance)"),
}
LIMITS = (
    "This is approximate unlearning. It was judged by the measurements on this page, on the examples at hand.",
    "It is no proof and no legal guarantee that nothing of the forget set is left in the weights.",
    "Another attack than the one above may tell more; fine-tuning on similar data may bring back what was forgotten.",
    "The attack takes the test set for data the model never saw, and test accuracy is measured on the same examples.",
    "The intervals are of the examples drawn (95 %); another run with another seed varies as well.",
    "Copies of the model from before, and checkpoints of the run, still know the forget set.",
)
SIZE_LIMIT = 2_000_000
# More rows than that make the page too large to read; the JSON has them all.
ROWS_SHOWN = 1000
_COUNTED = ("forget", "retain", "test", "held_out")


def write_report(run: str | os.PathLike, html: str | os.PathLike, show_ids: bool = False) -> dict[str, Any]:
    """
    Writes the report of a finished run as one page that needs nothing else, and beside it the same as JSON.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        html (`str` or `os.PathLike`): The page; the JSON has the same name, ending in `.json`.
        show_ids (`bool`, defaults to `False`): Show the rows of the forgotten examples, in place of keyed hashes that
            only the holder of the run's private folder can trace back.

    Returns:
        `dict`: What the JSON holds.

    Raises:
        FileNotFoundError, ValueError: There is no record, or it is damaged or of another version; or the page would be
            the JSON.
    """
    page = Path(html)
    if page.suffix == ".json":
        raise ValueError(f"`html` must not end in .json, got `{page}`; the JSON is written beside the page.")
    report = gather_report(run, show_ids)
    page.parent.mkdir(parents=True, exist_ok=True)
    text = render_report(report)
    if len(text.encode()) > SIZE_LIMIT:
        raise ValueError(f"The page would have {len(text.encode()):,} bytes, more than {SIZE_LIMIT:,}.")
    temporary = page.with_name(page.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, page)
    write_results(report, page.with_suffix(".json"))
    return report


def gather_report(run: str | os.PathLike, show_ids: bool = False) -> dict[str, Any]:
    """What is in a report, from the record of a run and, where it was kept, from its private folder."""
    record = read_record(run)
    return {
        "format_version": record["format_version"],
        "method": record["method"],
        # With the seed that drew them, whoever has the data can draw the same examples.
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
    """The page of a report."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: "" if value is None else f"{value:.1f}"
    source = files("hf_invwnn").joinpath("templates").joinpath("report.html").read_text(encoding="utf-8")
    oracle = next((row["metrics"] for row in report["table"] if row["model"] == "oracle"), None)
    star = {name: found["value"] for name, found in oracle.items()} if oracle else None
    pictures = [
        (title, Markup(picture))
        for title, picture in (
            ("Accuracy while the model forgets", accuracy_curve(report["history"], star)),
            ("Losses after each turn", loss_curve(report["history"])),
        )
        if picture
    ]
    return environment.from_string(source).render(
        report=report,
        titles=TITLES,
        shown=[name for name in METRICS if any(name in row["metrics"] for row in report["table"])],
        meanings={name: meaning for name, (_, meaning) in METRICS.items()},
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
        measured = record["metrics"][name]
        if measured:
            metrics = {
                metric: _measured(measured[metric], _count(record["counts"], part))
                for metric, (part, _) in METRICS.items()
                if measured.get(metric) is not None
            }
            rows.append({"model": name, "metrics": metrics})
    return rows


def _count(counts: Mapping[str, int], part: str | None) -> int | None:
    """Examples that a metric was measured on; where there was no test set, the held-out one stands for it."""
    return counts.get(part or "", counts.get("held_out") if part == "test" else None)


def _measured(value: float, count: int | None) -> dict[str, Any]:
    """A share with its interval; without one where it is not known of how many examples it is."""
    try:
        return share_interval(value, count or 0)._asdict()
    except ValueError:
        return {"value": value, "low": None, "high": None, "examples": count}


def _membership(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in MODELS:
        measured = record["metrics"][name] or {}
        if "loss_auc" in measured:
            rows.append(
                {
                    "model": name,
                    "MIA": _measured(measured["MIA"], record["counts"].get("forget")) if "MIA" in measured else None,
                    "auc": measured["loss_auc"],
                    "auc_low": measured.get("loss_auc_low"),
                    "auc_high": measured.get("loss_auc_high"),
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
        raise ValueError(f"`{path}` holds {len(rows)} examples, but {record['forget']['count']} were to be forgotten.")
    key = (private_folder(run) / SALT).read_bytes()
    names = [name for name in MODELS if f"{name}_confidence" in rows[0]]
    found = [
        {
            "id": str(row["row"]) if show_ids else hidden_id(row["row"], key),
            "label": row["label"],
            **{name: {what: row[f"{name}_{what}"] for what in ("prediction", "confidence", "loss")} for name in names},
        }
        for row in rows
    ]
    # In the order of the rows, a hash would tell which row it is.
    return found if show_ids else sorted(found, key=lambda example: example["id"])


def hidden_id(row: int, key: bytes) -> str:
    """A name for an example that tells nothing of its row to those who do not have the key (HMAC-SHA-256)."""
    return hmac.new(key, str(row).encode(), hashlib.sha256).hexdigest()[:12]


def _summary(report: Mapping[str, Any]) -> list[str]:
    values = {row["model"]: row["metrics"] for row in report["table"]}
    count = report["forget"]["count"]
    said = [f"{count if count is not None else 'An unrecorded number of'} training examples were to be forgotten."]
    if "UA" in values.get("after", {}):
        kept = {name: 100 - metrics["UA"]["value"] for name, metrics in values.items() if "UA" in metrics}
        said.append(_known(kept))
    if "TA" in values.get("before", {}) and "TA" in values.get("after", {}):
        before, after = (values[name]["TA"]["value"] for name in ("before", "after"))
        said.append(f"Accuracy on examples it never saw went from {before:.1f} to {after:.1f} %.")
    return said


def _known(kept: Mapping[str, float]) -> str:
    parts: Sequence[str] = [
        f"{kept[name]:.1f} % of them {when}"
        for name, when in (("before", "before"), ("after", "after unlearning"))
        if name in kept
    ]
    oracle = f"; a model retrained without them predicts {kept['oracle']:.1f} %" if "oracle" in kept else ""
    return f"The model predicted as labelled {', and '.join(parts)}{oracle}."


__all__ = ["gather_report", "hidden_id", "render_report", "write_report"]
