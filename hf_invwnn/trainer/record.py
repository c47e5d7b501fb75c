"""The record of an unlearning run, made from the unlearner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from torch import nn

from ..audit.private import commitment, make_private_folder
from ..audit.record import make_record
from ..files import sha256_of_files
from ..hub.allowlist import model_files
from ..metrics.catalogue import METRICS
from .fingerprint import weights_hash
from .heads import CLASSES, NEXT_TOKEN, TOKENS, head_of


if TYPE_CHECKING:
    from .stopping import StoppingRule
    from .unlearner import Unlearner


def record_of(unlearner: Unlearner, folder: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    The record of a finished run.

    Args:
        unlearner ([`Unlearner`]): The run.
        folder (`str`): The folder of the saved model.
        facts (`dict`): What the run does not know itself: `splits`, `metrics`, `retrained_used`, `base_model`,
            `datasets` and `license`; all optional.
    """
    run, rules = unlearner.run_state, unlearner.unlearning.rules
    model = unlearner.accelerator.unwrap_model(unlearner.model)
    splits = facts.get("splits")
    summary = splits.summary() if splits is not None else {}
    sets = unlearner.eval_dataset if isinstance(unlearner.eval_dataset, dict) else {}
    counts = {name: len(dataset) for name, dataset in sets.items() if isinstance(dataset, Sized)}
    # The rules of the package, except a target UA, use no retrained model.
    without_retrained = unlearner.args.target_ua is None and not any(map(_is_custom, rules))
    last = run.history[-1] if run.history else {}
    return make_record(
        outcome=str(run.outcome),
        method=unlearner.title or type(unlearner).__name__,
        arguments={**unlearner.args.to_dict(), **(unlearner.used_settings or {})},
        changes=run.changes,
        forget={
            "count": summary.get("counts", counts).get("forget"),
            "scenario": summary.get("scenario"),
            **_commitment(unlearner, folder, splits),
        },
        counts={**counts, **summary.get("counts", {})},
        predictor=describe_predictor(getattr(unlearner, "predictor", None)),
        recovery=describe_recovery(unlearner),
        stopping={
            "rules": [_in_words(rule) for rule in rules],
            "reason": _reason(str(run.stop_reason), rules),
            "retrained_used": facts.get("retrained_used", False if without_retrained else None),
        },
        metrics=facts.get("metrics") or metrics_of(run.history, head_of(model)),
        cost={
            "forget_steps": int(last.get("step", 0)),
            "rounds": run.total_rounds,
            "seconds": float(last.get("seconds", 0.0)),
        },
        history=run.history,
        model={key: facts.get(key) for key in ("base_model", "datasets", "license")},
        files=sha256_of_files(folder, model_files(folder)),
    )


def _commitment(unlearner: Unlearner, folder: str, splits: Any) -> dict[str, str | None]:
    """The commitment to the forget indices; without splits, to the content of the forget set."""
    make_private_folder(folder)
    if splits is not None:
        return {"commitment": commitment(folder, splits.forget_indices), "committed_to": "indices"}
    content = unlearner.cached_fingerprint().get("forget set")
    if content is None:
        return {"commitment": None, "committed_to": None}
    return {"commitment": commitment(folder, str(content)), "committed_to": "content"}


def _is_custom(rule: StoppingRule) -> bool:
    return not type(rule).__module__.startswith("hf_invwnn.")


def _in_words(rule: StoppingRule) -> str:
    """A rule of the package in words; what a rule of the user prints may be anything."""
    return "a custom rule" if _is_custom(rule) else str(rule)


def _reason(reason: str, rules: Sequence[StoppingRule]) -> str:
    for rule in rules:
        if _is_custom(rule):
            reason = reason.replace(str(rule), "a custom rule")
    return reason


def describe_predictor(predictor: Any) -> dict[str, Any] | None:
    """Name, configuration and SHA-256 of the weights of a predictor; `None` without one."""
    if predictor is None:
        return None
    config: Any = getattr(predictor, "config", None)
    settings = {"scale": predictor.scale} if hasattr(predictor, "scale") else None
    return {
        "name": type(predictor).__name__,
        "config": config.to_diff_dict() if hasattr(config, "to_diff_dict") else settings,
        "sha256": weights_hash(predictor) if isinstance(predictor, nn.Module) else None,
    }


def describe_recovery(unlearner: Unlearner) -> dict[str, Any] | None:
    """The surrogates of a run, whether only D_f was used to make them, and the steps; `None` without any."""
    surrogates = unlearner.recovery.surrogates
    if surrogates is None:
        return None
    return {
        "surrogates": surrogates.name,
        "forget_only": surrogates.forget_only,
        "steps": unlearner.recovery.steps,
        "recoveries": unlearner.run_state.recoveries,
    }


def metrics_of(
    history: Sequence[Mapping[str, float]], head: str | None = CLASSES
) -> dict[str, dict[str, float] | None]:
    """
    Metrics of the original and the unlearned model from the first and the last point of a history: accuracies where
    they are defined, for language models also losses and perplexities, and losses alone for other tasks.

    Args:
        history (`list[dict[str, float]]`): The measured points of a run.
        head (`str`, *optional*, defaults to `"class"`): What the labels of the model answer, see
            [`~hf_invwnn.trainer.heads.head_of`].
    """
    if not history:
        return {}
    unseen = "test" if "eval_test_accuracy" in history[0] else "unseen"
    generated = [name for name, metric in METRICS.items() if metric.split == "generated"]
    keys = {"TA": f"eval_{unseen}_accuracy", "RA": "eval_retain_accuracy"}

    def metrics(point: Mapping[str, float]) -> dict[str, float]:
        values = {"UA": point["ua"]} if "ua" in point else {}
        values |= {name: 100 * point[key] for name, key in keys.items() if key in point}
        values |= {name: point[f"eval_{name}"] for name in generated if f"eval_{name}" in point}
        if head in (TOKENS, NEXT_TOKEN) or "ua" not in point:
            values |= _losses(point, perplexity=head in (TOKENS, NEXT_TOKEN))
        return values

    return {"original": metrics(history[0]), "unlearned": metrics(history[-1]), "retrained": None}


def _losses(point: Mapping[str, float], perplexity: bool) -> dict[str, float]:
    losses = {name: point[f"eval_{name}_loss"] for name in ("forget", "unseen") if f"eval_{name}_loss" in point}
    values = {f"{name}_loss": loss for name, loss in losses.items()}
    if perplexity:
        # Above a loss of 700 the perplexity is not a number of 64 bits.
        values |= {f"{name}_perplexity": math.exp(min(loss, 700.0)) for name, loss in losses.items()}
    return values


__all__ = ["describe_predictor", "describe_recovery", "metrics_of", "record_of"]
