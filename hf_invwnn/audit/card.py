"""Cards of unlearned models and pipelines, from the record of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..hub.cards import UNKNOWN_LICENSE, dump_yaml, make_card, plain, render
from ..metrics.catalogue import METRICS, MODELS
from .tables import markdown_table


_RETRAINED_USED = {
    True: "was used to choose where to stop.",
    False: "was not used to choose where to stop.",
    None: "may have been used to choose where to stop; the run did not record it.",
}
# The first sentence of a card, by the outcome of the run.
_OUTCOMES = {
    "reached": "It was made to forget {count} of its training examples, and reached the target of the run.",
    "target not reached": "**It fell short of its target.** It was to forget {count} of its training examples, and "
    "the run ended before the target was reached.",
    "unchanged": "**It was not changed.** It was to forget {count} of its training examples, and the run ended with "
    "the weights it began with.",
    "no target": "It was made to forget {count} of its training examples for a fixed number of rounds; no rule said "
    "how far.",
}
# Prefixes of the arguments on the card: those of the method and the important ones of the optimizer.
_ON_CARD = (
    *("num_", "snapshot", "warmup_intervals", "residual_scale", "tracked", "freeze", "reset_optimizer", "trajectory"),
    *("target_ua", "ua_tolerance", "stop_at", "max_unseen", "min_utility", "utility", "max_forget", "max_seconds"),
    *("learning_rate", "lr_sched", "optim", "per_device_train", "gradient_acc", "max_grad"),
)


def unlearned_card(
    record: Mapping[str, Any],
    repo_id: str,
    pipeline_class: str | None = None,
    task: str | None = None,
    library: str | None = None,
) -> ModelCard:
    """
    The card of an unlearned model, or of a pipeline.

    Args:
        record (`dict`): The record of the run, see [`make_record`].
        repo_id (`str`): The repository.
        pipeline_class (`str`, *optional*): Class of the pipeline, for a pipeline.
        task (`str`, *optional*): Task of the model, such as `"image-classification"`.
        library (`str`, *optional*): `"transformers"` or `"peft"`; `"diffusers"` for a pipeline.
    """
    model = record["model"]
    data = ModelCardData(
        model_name=repo_id.split("/")[-1],
        license=model["license"] or UNKNOWN_LICENSE,
        library_name=library or ("diffusers" if pipeline_class else "transformers"),
        tags=["machine-unlearning", "hf-invwnn"],
        base_model=model["base_model"],
        datasets=model["datasets"],
        pipeline_tag=task,
        eval_results=_eval_results(record, task or "other"),
    )
    text = render(
        __package__,
        "unlearned_pipeline.md" if pipeline_class else "unlearned_model.md",
        record=record,
        repo_id=repo_id,
        base_model=model["base_model"],
        pipeline_class=pipeline_class,
        forget_count=_number(record["forget"]["count"]),
        outcome=_OUTCOMES[record["outcome"]].format(count=_number(record["forget"]["count"])),
        changes=[_change(change) for change in record["changes"]],
        metrics_table=_metrics_table(record["metrics"]),
        legend=_pipeline_legend() if pipeline_class else _model_legend(record["metrics"]),
        counted=_counted(record["counts"]),
        retrained_used=_RETRAINED_USED[record["stopping"]["retrained_used"]],
        cost=_cost(record["cost"]),
        predictor=_predictor(record["predictor"]),
        recovery=_recovery(record["recovery"]),
        arguments_yaml=dump_yaml({"method": record["method"], **_card_arguments(record["arguments"])}),
    )
    return make_card(ModelCard, data, text)


def pipeline_card(pipeline_class: str, repo_id: str, model: Mapping[str, Any]) -> ModelCard:
    """
    The card of a pipeline without a record.

    Args:
        pipeline_class (`str`): Class of the pipeline.
        repo_id (`str`): The repository.
        model (`dict`): `base_model`, `datasets` and `license`, if known.
    """
    data = ModelCardData(
        license=model.get("license") or UNKNOWN_LICENSE,
        library_name="diffusers",
        tags=["hf-invwnn"],
        base_model=model.get("base_model"),
        datasets=model.get("datasets"),
    )
    return make_card(
        ModelCard, data, render(__package__, "pipeline.md", pipeline_class=pipeline_class, repo_id=repo_id)
    )


def _eval_results(record: Mapping[str, Any], task: str) -> list[EvalResult] | None:
    source = (record["model"]["datasets"] or ["unpublished"])[0]
    return [
        EvalResult(
            task_type=task,
            dataset_type=source,
            dataset_name=f"{metric.split} set",
            dataset_split=metric.split,
            metric_type=metric.hub_type,
            metric_name=f"{metric.title} {when} unlearning",
            metric_value=round(record["metrics"][name][metric.name], 4),
        )
        for name, when in (("original", "before"), ("unlearned", "after"))
        for metric in METRICS.values()
        if (record["metrics"][name] or {}).get(metric.name) is not None
    ] or None


def _metrics_table(metrics: Mapping[str, Any]) -> str:
    models = [name for name in MODELS if metrics[name]]
    columns = [metric for metric in METRICS.values() if any(metric.name in metrics[name] for name in models)]
    if not columns:
        return "Nothing was measured."
    rows = [["model", *(metric.title for metric in columns)]]
    rows += [[name, *(metric.format(metrics[name].get(metric.name)) for metric in columns)] for name in models]
    return markdown_table(rows)


def _model_legend(measured: Mapping[str, Any]) -> str:
    """What the metrics of a classifier or a language model mean, in sentences."""
    names = {name for values in measured.values() for name in values or {}}
    if not names & {"UA", "RA", "TA"}:
        return " ".join(METRICS[name].legend for name in METRICS if name in names and METRICS[name].legend)
    metrics = [
        metric
        for metric in METRICS.values()
        if metric.legend and metric.split != "generated" and (metric.name in names or metric.name not in _OF_TEXTS)
    ]
    without_unit = ", ".join(metric.title for metric in metrics if not metric.unit)
    *others, last = [metric.title for metric in metrics if metric.goal == "retrained" and metric.name not in _OF_TEXTS]
    return " ".join(
        [
            f"In percent, except the {without_unit}.",
            *(metric.legend for metric in metrics),
            f"For {', '.join(others)} and {last} the goal is the value of a model retrained without the forget set.",
        ]
    )


# Metrics that a record has only where losses are what is measured.
_OF_TEXTS = ("forget_loss", "unseen_loss", "forget_perplexity", "unseen_perplexity")


def _pipeline_legend() -> str:
    """What the metrics of generated images mean, in sentences."""
    return " ".join(metric.legend for metric in METRICS.values() if metric.legend and metric.split == "generated")


def _counted(counts: Mapping[str, int]) -> str:
    parts = [f"{counts[name]} {name}" for name in ("forget", "retain", "test", "unseen") if counts.get(name)]
    return f"Measured on {', '.join(parts)} examples." if parts else ""


def _cost(cost: Mapping[str, float]) -> str:
    parts = [f"{cost['forget_steps']:,} optimizer steps on the forget set"] if "forget_steps" in cost else []
    parts += [f"{cost['rounds']} rounds"] if "rounds" in cost else []
    parts += [f"{cost['seconds']:.0f} seconds"] if "seconds" in cost else []
    return ", ".join(parts) or "not recorded"


def _number(count: int | None) -> str:
    return "an unrecorded number" if count is None else f"{count:,}"


def _recovery(recovery: Mapping[str, Any] | None) -> str | None:
    if not recovery:
        return None
    alone = "made from the forget set and the model alone"
    return (
        f"{_number(recovery['steps'])} steps on {plain(recovery['surrogates'])}, "
        f"{alone if recovery['forget_only'] else 'for which other data than the forget set was used'}"
    )


def _predictor(predictor: Mapping[str, Any] | None) -> str | None:
    if not predictor:
        return None
    digest = f", SHA-256 of its weights `{predictor['sha256']}`" if predictor.get("sha256") else ""
    return f"{plain(predictor['name'])}{digest}"


def _change(change: Mapping[str, Any]) -> str:
    return f"from step {change['step']}: `{change['argument']}` {change['from']} -> {change['to']}"


def _card_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name.startswith(_ON_CARD)}


__all__ = ["pipeline_card", "unlearned_card"]
