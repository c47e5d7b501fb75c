"""Model cards from templates, and how they get into a card that is there already: between two markers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard import RepoCard

from ..record import MODELS


BEGIN = "<!-- hf-invwnn:begin -->"
END = "<!-- hf-invwnn:end -->"
UNKNOWN_LICENSE = "unknown"
_METRICS = ("RA", "UA", "TA", "MIA", "loss_auc", "forget_ratio", "kid")
_TITLES = {"before": "before", "after": "after unlearning", "oracle": "retrained without the forget set"}
_MEASURED_ON = {"RA": "retain", "UA": "forget", "TA": "test", "MIA": "forget", "loss_auc": "forget"}
_MEASURED_ON |= {"forget_ratio": "generated", "kid": "generated"}
_TYPES = {"RA": "accuracy", "UA": "unlearning_accuracy", "TA": "accuracy", "MIA": "mia", "loss_auc": "loss_auc"}
_TYPES |= {"forget_ratio": "forget_ratio", "kid": "kid"}
_ORACLE_USED = {
    True: "was used to choose where to stop.",
    False: "was not used to choose where to stop.",
    None: "may have been used to choose where to stop; the run does not say.",
}
# What names of the method's own arguments begin with, and of those of the optimizer that matter as much.
_TELLING = (
    *("num_", "snapshot", "warmup_intervals", "residual_scale", "tracked", "freeze", "reset_optimizer", "trajectory"),
    *("target_ua", "ua_tolerance", "stop_at", "min_utility", "utility", "max_forget", "max_seconds", "seed"),
    *("learning_rate", "lr_sched", "optim", "per_device_train", "gradient_acc", "max_grad"),
)


def unlearned_card(
    record: Mapping[str, Any], repo_id: str, pipeline_class: str | None = None, task: str | None = None
) -> ModelCard:
    """
    The card of an unlearned model, or of a pipeline.

    Args:
        record (`dict`): Of the run, see [`make_record`].
        repo_id (`str`): Where it goes.
        pipeline_class (`str`, *optional*): That of a pipeline.
        task (`str`, *optional*): Of the model, such as `"image-classification"`.
    """
    known = record["model"]
    data = ModelCardData(
        model_name=repo_id.split("/")[-1],
        license=known["license"] or UNKNOWN_LICENSE,
        library_name="diffusers" if pipeline_class else "transformers",
        tags=["machine-unlearning", "hf-invwnn"],
        base_model=known["base_model"],
        datasets=known["datasets"],
        pipeline_tag=task,
        eval_results=_eval_results(record, task or "other"),
    )
    text = _rendered(
        "unlearned_pipeline.md" if pipeline_class else "unlearned_model.md",
        record=record,
        repo_id=repo_id,
        base_model=known["base_model"],
        pipeline_class=pipeline_class,
        forget_count=_number(record["forget"]["count"]),
        metrics_table=_metrics_table(record["metrics"]),
        counted=_counted(record["counts"]),
        oracle_used=_ORACLE_USED[record["stopping"]["oracle_used"]],
        cost=_cost(record["cost"]),
        predictor=_predictor(record["predictor"]),
        arguments_yaml=_yaml({"method": record["method"], **_telling(record["arguments"])}),
    )
    return _card(ModelCard, data, text)


def pipeline_card(pipeline_class: str, repo_id: str, model: Mapping[str, Any]) -> ModelCard:
    """
    The card of a pipeline without a record.

    Args:
        pipeline_class (`str`): Its class.
        repo_id (`str`): Where it goes.
        model (`dict`): `base_model`, `datasets` and `license`, where they are known.
    """
    data = ModelCardData(
        license=model.get("license") or UNKNOWN_LICENSE,
        library_name="diffusers",
        tags=["hf-invwnn"],
        base_model=model.get("base_model"),
        datasets=model.get("datasets"),
    )
    return _card(ModelCard, data, _rendered("pipeline.md", pipeline_class=pipeline_class, repo_id=repo_id))


def predictor_card(folder: Path, repo_id: str, license: str | None = None) -> ModelCard:
    """
    The card of a predictor, with the `skill.md` and `trained_on.md` that lie beside it, if they do.

    Args:
        folder (`Path`): With `config.json` and the weights.
        repo_id (`str`): Where it goes.
        license (`str`, *optional*): Its licence.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    beside = {name: (folder / name) for name in ("skill.md", "trained_on.md")}
    said = {name: path.read_text(encoding="utf-8").strip() for name, path in beside.items() if path.is_file()}
    epochs = config.get("rewind_epochs")
    past = f"what a weight was {epochs} epochs before the oldest" if epochs else "what a weight was before the oldest"
    data = ModelCardData(
        license=license or UNKNOWN_LICENSE,
        library_name="hf-invwnn",
        tags=["machine-unlearning", "weight-prediction", "invwnn"],
    )
    text = _rendered(
        "predictor.md",
        repo_id=repo_id,
        config=config,
        what="what a weight would be without the examples of the trajectory"
        if config.get("target") == "counterfactual"
        else f"{past} of the values it is shown,",
        num_weights=_count_weights(folder),
        trained_on=said.get("trained_on.md", "Not recorded."),
        config_yaml=_yaml({key: config[key] for key in sorted(config) if key not in ("architectures", "dtype")}),
        skill=said.get("skill.md", "Not measured."),
    )
    return _card(ModelCard, data, text)


def histories_card(facts: Mapping[str, Any], repo_id: str, license: str | None = None) -> DatasetCard:
    """
    The card of a dataset of weight histories.

    Args:
        facts (`dict`): `num_rows`, `num_runs` and `families`, as [`describe_histories`] gives them.
        repo_id (`str`): Where it goes.
        license (`str`, *optional*): Its licence.
    """
    rows = ["| family | run type | runs |", "| --- | --- | ---: |"]
    rows += [f"| {family} | {kind} | {count} |" for (family, kind), count in sorted(facts["families"].items())]
    data = DatasetCardData(
        license=license or UNKNOWN_LICENSE,
        tags=["machine-unlearning", "weight-histories"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    )
    text = _rendered("histories.md", repo_id=repo_id, runs_table="\n".join(rows), **facts)
    return _card(DatasetCard, data, text)


def merged(existing: str | None, card: RepoCard) -> str:
    """
    A card's section in the place of an earlier one; what stands around it and the other metadata stay.

    Args:
        existing (`str`, *optional*): The card that is there already.
        card (`RepoCard`): The new one.

    Raises:
        ValueError: The metadata of `existing` is no YAML, or only one of the two markers is there.
    """
    if not existing or not existing.strip():
        return str(card)
    old = _read(existing, type(card))
    data = {**card.data.to_dict(), **old.data.to_dict()}
    for name in ("model-index", "configs"):
        if name in (new := card.data.to_dict()):
            data[name] = new[name]
    data["tags"] = list(dict.fromkeys([*(old.data.to_dict().get("tags") or []), *(card.data.to_dict()["tags"])]))
    if old.data.to_dict().get("license") in (None, UNKNOWN_LICENSE):
        data["license"] = card.data.to_dict()["license"]
    section = _between(card.text)
    begin, end = old.text.find(BEGIN), old.text.find(END)
    if (begin < 0) != (end < 0) or end < begin:
        raise ValueError(
            f"The card that is there has only one of the markers `{BEGIN}` and `{END}`; set both or none."
        )
    if begin < 0:
        text = f"{old.text.rstrip()}\n\n{section}\n"
    else:
        text = old.text[:begin] + section + old.text[end + len(END) :]
    from huggingface_hub.utils import yaml_dump

    return f"---\n{yaml_dump(data, sort_keys=False)}---\n{text if text.startswith(chr(10)) else chr(10) + text}"


def _read(text: str, kind: type[RepoCard]) -> RepoCard:
    from yaml import YAMLError

    try:
        return kind(text)
    except (ValueError, YAMLError) as error:
        raise ValueError(f"The metadata of the card that is there cannot be read ({error}); mend it first.") from error


def _between(text: str) -> str:
    return text[text.index(BEGIN) : text.index(END) + len(END)]


def _card(kind: type[RepoCard], data: Any, section: str) -> Any:
    title = "" if section.startswith("# ") else "\n"
    return kind(f"---\n{data.to_yaml()}\n---\n{title}{BEGIN}\n{section.strip()}\n{END}\n")


@cache
def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined

    return Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # Markdown, not HTML


def _rendered(template: str, **values: Any) -> str:
    source = files("hf_invwnn").joinpath("templates").joinpath(template).read_text(encoding="utf-8")
    return _environment().from_string(source).render(**values)


def _eval_results(record: Mapping[str, Any], task: str) -> list[EvalResult] | None:
    source = (record["model"]["datasets"] or ["unpublished"])[0]
    results = []
    for name in ("before", "after"):
        for metric in _METRICS:
            value = (record["metrics"][name] or {}).get(metric)
            if value is not None:
                part = _MEASURED_ON[metric]
                results.append(
                    EvalResult(
                        task_type=task,
                        dataset_type=source,
                        dataset_name=f"{part} set",
                        dataset_split=part,
                        metric_type=_TYPES[metric],
                        metric_name=f"{metric} {'before' if name == 'before' else 'after'} unlearning",
                        metric_value=round(value, 4),
                    )
                )
    return results or None


def _metrics_table(metrics: Mapping[str, Any]) -> str:
    names = [name for name in MODELS if metrics[name]]
    shown = [metric for metric in _METRICS if any(metric in metrics[name] for name in names)]
    if not shown:
        return "Nothing was measured."
    lines = [
        "| model | " + " | ".join(name.replace("_", " ") for name in shown) + " |",
        "| --- |" + " ---: |" * len(shown),
    ]
    for name in names:
        cells = (_cell(metric, metrics[name].get(metric)) for metric in shown)
        lines.append(f"| {_TITLES[name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if metric in ("loss_auc", "kid") else f"{value:.2f}"


def _counted(counts: Mapping[str, int]) -> str:
    parts = [f"{counts[name]} {name}" for name in ("forget", "retain", "test", "held_out") if counts.get(name)]
    return f"Measured on {', '.join(parts)} examples." if parts else ""


def _cost(cost: Mapping[str, float]) -> str:
    said = [f"{cost['forget_steps']:,} optimizer steps on the forget set"] if "forget_steps" in cost else []
    said += [f"{cost['rewinds']} turns"] if "rewinds" in cost else []
    said += [f"{cost['seconds']:.0f} seconds"] if "seconds" in cost else []
    return ", ".join(said) or "not recorded"


def _number(count: int | None) -> str:
    return "an unrecorded number" if count is None else f"{count:,}"


def _predictor(predictor: Mapping[str, Any] | None) -> str | None:
    if not predictor:
        return None
    digest = f", SHA-256 of its weights `{predictor['sha256']}`" if predictor.get("sha256") else ""
    return f"{predictor['name']}{digest}"


def _telling(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name.startswith(_TELLING)}


def _yaml(values: Mapping[str, Any]) -> str:
    from huggingface_hub.utils import yaml_dump

    return yaml_dump(dict(values), sort_keys=False)


def _count_weights(folder: Path) -> int:
    from math import prod

    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="np") as weights:
        return sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118


__all__ = ["BEGIN", "END", "histories_card", "merged", "pipeline_card", "predictor_card", "unlearned_card"]
