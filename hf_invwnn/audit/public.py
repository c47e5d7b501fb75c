"""The public part of a record, from which nobody can find out which examples were forgotten, or where they lie."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..hub.paths import hub_id, without_paths
from ..metrics.catalogue import METRICS, MODELS


# Figures of fewer examples are left out. A figure has at most about 1,000 values, so the ten or so that a record has
# of a forget set tell less than 100 bits, and there are 2 ** 78 sets of 10 among 1,000 examples. Of one example among
# a million, two losses of three digits tell which it is.
LEAST_EXAMPLES = 10
# Significant digits of losses, perplexities and other figures without a unit.
DIGITS = 3
# Evaluation sets of the package and its recipes; other names may say anything, and are numbered.
KNOWN_SETS = ("train", "forget", "retain", "validation", "test", "unseen", "forget_clean", "triggered")
# The arguments on record: those that change the weights or the end of a run, without seeds, which draw the forget set
# or the order of its examples, and without free text.
ARGUMENTS = (
    *("num_rewinds", "num_snapshots", "snapshot_strategy", "snapshot_steps", "warmup_intervals", "residual_scale"),
    *("tracked_parameters", "freeze_normalization", "reset_optimizer", "trajectory_dtype", "trajectory_storage"),
    *("target_ua", "ua_tolerance", "stop_at_unseen_loss", "max_unseen_loss_rise", "max_unseen_accuracy_drop"),
    *("min_utility", "utility_metric", "max_forget_steps", "max_seconds"),
    *("recovery_steps", "recovery_weight", "recovery_temperature", "recovery_learning_rate", "recovery_schedule"),
    *("recovery_start", "recovery_cycles", "recovery_overshoot", "recovery_without_labels"),
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "weight_decay", "adam_beta1", "adam_beta2"),
    *("adam_epsilon", "max_grad_norm", "label_smoothing_factor", "neftune_noise_alpha"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
    *("per_device_eval_batch_size", "auto_find_batch_size", "dataloader_drop_last", "train_sampling_strategy"),
    *("average_tokens_across_devices", "bf16", "fp16", "tf32", "gradient_checkpointing", "torch_compile", "use_cpu"),
    "full_determinism",
)
_FREE_TEXT = ("tracked_parameters",)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}")
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,59}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_OF_A_POINT = ("round", "fraction", "step", "seconds", "recovery")
# Surrogates of the package; others may have any name.
_SURROGATES = (
    *("shifted images", "mixed images", "noisy images", "adversarial images", "edited texts"),
    *("unlabelled examples", "own samples", "own continuations"),
)


def number(value: Any) -> float | int | None:
    """A number of Python, NumPy or torch as a number of JSON; `None` for anything else, NaN and infinity included."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    return value if isinstance(value, int) else (float(value) if math.isfinite(value) else None)


def public_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """
    The arguments that may be published: numbers, and words of the package and of transformers. Of a free text, such as
    a regular expression, only whether there is one.

    Args:
        arguments (`dict`): All arguments of a run.
    """
    return {name: _value(name, arguments[name]) for name in ARGUMENTS if name in arguments}


def _value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in _FREE_TEXT:
        return "(a text of the user)"
    if isinstance(value, str):
        text = value if name != "utility_metric" else _metric_name(value)
        return text if _WORD.fullmatch(text) else "(a text of the user)"
    return number(value)


def _metric_name(name: str) -> str:
    """A metric of an evaluation set, without the name of a set of the user."""
    known = any(name.startswith(f"eval_{split}_") for split in KNOWN_SETS)
    return name if known else "(a metric of the user)"


class SetNames:
    """
    Public names of evaluation sets: those of the package as they are, others numbered in the order of their first use.

    Args:
        names (`Iterable[str]`): The names of the sets of a run.
    """

    def __init__(self, names: Iterable[str]) -> None:
        own = [name for name in dict.fromkeys(names) if name not in KNOWN_SETS]
        self.public = {name: f"set_{number}" for number, name in enumerate(own, start=1)}

    def __call__(self, name: str) -> str:
        return self.public.get(name, name)

    def in_text(self, text: str) -> str:
        """A text with the names replaced, and without paths."""
        for name in sorted(self.public, key=len, reverse=True):
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", self.public[name], text)
        return without_paths(text)


def public_counts(counts: Mapping[str, Any], names: SetNames) -> dict[str, int]:
    """Numbers of examples by public names."""
    values = {names(str(name)): number(count) for name, count in counts.items()}
    return {name: int(count) for name, count in values.items() if count is not None and count >= 0}


def public_metrics(metrics: Mapping[str, Any], count: int | None) -> dict[str, dict[str, float] | None]:
    """
    The metrics of each model that the catalogue describes; those of a forget set of fewer than `LEAST_EXAMPLES`
    examples are left out.

    Args:
        metrics (`dict`): For each model the metrics, or `None`.
        count (`int`, *optional*): Size of the forget set.
    """
    return {name: _metrics_of_model(metrics.get(name), count) for name in MODELS}


def _metrics_of_model(values: Any, count: int | None) -> dict[str, float] | None:
    if not isinstance(values, Mapping) or not values:
        return None
    public = {}
    for name, value in values.items():
        metric = METRICS.get(name) or METRICS.get(str(name).removesuffix("_low").removesuffix("_high"))
        plain = number(value)
        if metric is None or plain is None or (metric.split == "forget" and is_small(count)):
            continue
        public[name] = plain if metric.unit == "%" else round(plain, metric.digits + 1)
    return public or None


def is_small(count: int | None) -> bool:
    """Whether a forget set has too few examples for its figures to be published."""
    return count is not None and count < LEAST_EXAMPLES


def rounded(value: float, digits: int = DIGITS) -> float:
    """A number with so many significant digits."""
    return round(value, digits - 1 - math.floor(math.log10(abs(value)))) if value else value


def public_history(history: Iterable[Any], names: SetNames, count: int | None) -> list[dict[str, float]]:
    """
    The measured points: rounds, steps, seconds, UA, and losses and accuracies of the evaluation sets by public names.

    Args:
        history (`list[dict[str, float]]`): The points of a run.
        names ([`SetNames`]): Public names of its sets.
        count (`int`, *optional*): Size of the forget set.
    """
    return [_point(point, names, count) for point in history if isinstance(point, Mapping)]


def _point(point: Mapping[str, Any], names: SetNames, count: int | None) -> dict[str, float]:
    public: dict[str, float] = {}
    for key, value in point.items():
        plain, name = number(value), _public_key(str(key), names)
        of_forget_set = key == "ua" or str(key).startswith("eval_forget_")
        if plain is None or name is None or (of_forget_set and is_small(count) and not str(key).endswith("_ratio")):
            continue
        public[name] = plain if key in _OF_A_POINT or key == "ua" else rounded(plain)
    return public


def _public_key(key: str, names: SetNames) -> str | None:
    if key in (*_OF_A_POINT, "ua", "eval_forget_ratio", "eval_kid"):
        return key
    split, _, kind = key.removeprefix("eval_").rpartition("_")
    if not key.startswith("eval_") or kind not in ("loss", "accuracy") or not split:
        return None
    public = names(split)
    return f"eval_{public}_{kind}" if public in KNOWN_SETS or public.startswith("set_") else None


def public_stopping(stopping: Mapping[str, Any], names: SetNames) -> dict[str, Any]:
    """The rules of the package in words, the reason of the end, and whether a retrained model was used."""
    rules, reason = stopping.get("rules"), stopping.get("reason")
    used = stopping.get("retrained_used")
    return {
        "rules": [names.in_text(str(rule)) for rule in rules] if isinstance(rules, (list, tuple)) else [],
        "reason": names.in_text(str(reason)) if reason is not None else None,
        "retrained_used": used if isinstance(used, bool) else None,
    }


def public_changes(changes: Any) -> list[dict[str, Any]]:
    """Changed settings, of the arguments that may be published."""
    entries = changes if isinstance(changes, Sequence) else []
    return [
        {
            "step": number(change.get("step")),
            "argument": change["argument"],
            "from": _value(change["argument"], change.get("from")),
            "to": _value(change["argument"], change.get("to")),
        }
        for change in entries
        if isinstance(change, Mapping) and change.get("argument") in ARGUMENTS
    ]


def public_forget(forget: Mapping[str, Any], scenarios: Sequence[str]) -> dict[str, Any]:
    """The size of the forget set, the commitment to it, and the scenario if it is one of the package."""
    count, scenario, commitment = number(forget.get("count")), forget.get("scenario"), forget.get("commitment")
    return {
        "count": None if count is None else int(count),
        "commitment": commitment if isinstance(commitment, str) and _SHA256.fullmatch(commitment) else None,
        "committed_to": forget.get("committed_to") if forget.get("committed_to") in ("indices", "content") else None,
        "scenario": scenario if scenario in scenarios else (None if scenario is None else "custom"),
    }


def public_predictor(predictor: Any) -> dict[str, Any] | None:
    """Class, settings and hash of a predictor; of one that is not of the package, only that there is one."""
    if not isinstance(predictor, Mapping):
        return None
    if predictor.get("name") not in ("InvWNNModel", "LinearPredictor"):
        return {"name": "a custom predictor", "config": None, "sha256": None}
    config, digest = predictor.get("config"), predictor.get("sha256")
    return {
        "name": predictor["name"],
        "config": _settings(config) if isinstance(config, Mapping) else None,
        "sha256": digest if isinstance(digest, str) and _SHA256.fullmatch(digest) else None,
    }


def public_recovery(recovery: Any) -> dict[str, Any] | None:
    """The surrogates, if they are those of the package, whether only the forget set was used, and the steps."""
    if not isinstance(recovery, Mapping):
        return None
    name, forget_only = recovery.get("surrogates"), recovery.get("forget_only")
    return {
        "surrogates": name if name in _SURROGATES else "custom surrogates",
        "forget_only": forget_only if isinstance(forget_only, bool) else None,
        "steps": number(recovery.get("steps")),
        "recoveries": number(recovery.get("recoveries")),
    }


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, flags and single words, also one level deeper; entries of `from_pretrained` are left out."""
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if str(name).startswith("_") or not _WORD.fullmatch(str(name)):
            continue
        if isinstance(value, Mapping):
            settings[name] = {
                key: number(item)
                for key, item in value.items()
                if _WORD.fullmatch(str(key)) and number(item) is not None
            }
        elif isinstance(value, bool) or value is None or (isinstance(value, str) and _WORD.fullmatch(value)):
            settings[name] = value
        elif number(value) is not None:
            settings[name] = number(value)
    return settings


def public_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """Base model and data sets, if they are Hub ids, and the licence, if it is one word."""
    base, datasets, license_name = model.get("base_model"), model.get("datasets"), model.get("license")
    names = [name for name in datasets if hub_id(name)] if isinstance(datasets, (list, tuple)) else []
    return {
        "base_model": base if hub_id(base) else None,
        "datasets": names or None,
        "license": license_name if isinstance(license_name, str) and _WORD.fullmatch(license_name) else None,
    }


def public_title(method: Any) -> str:
    """The title of a method, if it is a short text without markup."""
    return method if isinstance(method, str) and _TITLE.fullmatch(method) else "a custom method"


def public_files(files: Mapping[str, Any]) -> dict[str, str]:
    """Names of files within a run and their SHA-256."""
    return {
        name: digest
        for name, digest in sorted(files.items())
        if _FILE.fullmatch(str(name))
        and ".." not in str(name)
        and isinstance(digest, str)
        and _SHA256.fullmatch(digest)
    }


__all__ = [
    "ARGUMENTS",
    "KNOWN_SETS",
    "LEAST_EXAMPLES",
    "SetNames",
    "is_small",
    "number",
    "public_arguments",
    "public_changes",
    "public_counts",
    "public_files",
    "public_forget",
    "public_history",
    "public_metrics",
    "public_model",
    "public_predictor",
    "public_recovery",
    "public_stopping",
    "public_title",
    "rounded",
]
