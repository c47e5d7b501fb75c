"""After a run: evaluates its models, and saves model, record, private artifacts and results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..audit.charts import plot_curves
from ..audit.private import example_results, save_private_artifacts
from ..audit.public import SetNames, is_small, public_history
from ..audit.tables import results_table
from ..files import atomic_write, write_json
from ..image_classification import evaluate_model, load_classifier, predict
from ..metrics import METRICS, MODELS, retraining_distance
from ..metrics.retraining_distance import NAMES
from ..scenarios import UnlearningSplits
from ..trainer.unlearner import Unlearner


def save_run(
    unlearner: Unlearner,
    splits: UnlearningSplits,
    datasets: Mapping[str, Any],
    processor: Any,
    original: nn.Module,
    retrained: nn.Module | None = None,
    seconds: Mapping[str, float] | None = None,
    title: str | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """
    Evaluates the models of a finished run of an image classifier and saves to the output directory: the model, its
    processor and its record; `results.json`, `results.md` and `curves.png`; and in `_private` the artifacts for
    `hf-invwnn verify` and `hf-invwnn report`.

    Args:
        unlearner ([`Unlearner`]): The finished run.
        splits ([`UnlearningSplits`]): Its splits.
        datasets (`dict[str, Dataset]`): `"forget"`, `"retain"` and `"test"` as inputs of the models.
        processor (`BaseImageProcessor`): The processor of the models.
        original (`nn.Module`): The model before unlearning.
        retrained (`nn.Module`, *optional*): The model trained without the forget set.
        seconds (`dict[str, float]`, *optional*): Model name -> seconds of training or unlearning.
        title (`str`, *optional*): Title of the curves; the scenario by default.
        facts: Other arguments of [`~Unlearner.save_record`].

    With several processes all of them must call it; the first one evaluates and saves.

    Returns:
        `dict`: The content of `results.json` (empty on the other processes): for `"original"`, `"unlearned"` and
        `"retrained"` the metrics of [`evaluate_model`]; `history`, `stopped`, `splits` and, with a retrained model,
        `distance`.
    """
    folder = Path(str(unlearner.args.output_dir))
    device = unlearner.args.device
    unlearner.save_model()  # first: with shards it needs all processes
    if not unlearner.is_world_process_zero():
        return {}
    processor.save_pretrained(folder)
    sharded = unlearner.tracked.shards.is_sharded
    unlearned = load_classifier(folder)[0] if sharded else unlearner.accelerator.unwrap_model(unlearner.model)
    models = {"original": original, "unlearned": unlearned} | ({} if retrained is None else {"retrained": retrained})
    sets = {name: datasets[name] for name in ("forget", "retain", "test")}
    results: dict[str, Any] = {
        name: {
            **evaluate_model(models[name].to(device), sets),
            **({"seconds": seconds[name]} if seconds and name in seconds else {}),
        }
        for name in MODELS
        if name in models
    }
    metrics = {name: results.get(name) for name in MODELS}
    if retrained is not None:
        ours, theirs = ([results[name][metric] for metric in NAMES] for name in ("unlearned", "retrained"))
        results["distance"] = retraining_distance(ours, theirs, NAMES)
    results |= {"history": unlearner.history, "stopped": unlearner.stop_reason, "splits": splits.summary()}

    outcomes = {name: predict(model, sets["forget"]) for name, model in models.items()}
    save_private_artifacts(
        folder,
        splits,
        {name: (model, processor) for name, model in models.items() if name != "unlearned"},
        example_results(splits.forget_indices, outcomes),
    )
    unlearner.save_record(splits=splits, metrics=metrics, **facts)
    write_json(_beside_the_model(results, len(splits.forget)), folder / "results.json")
    atomic_write(folder / "results.md", results_table(results) + "\n")
    plot_curves(unlearner.history, folder / "curves.png", results.get("retrained"), title or splits.scenario)
    if unlearner.args.push_to_hub:  # `save_model` has pushed a record without these metrics
        unlearner.push_to_hub()
    return results


def _beside_the_model(results: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The results without what a record does not publish; the whole record is in the private folder."""
    history = results["history"]
    sets = [key.removeprefix("eval_").rpartition("_")[0] for point in history for key in point]
    models = {
        name: {key: value for key, value in results[name].items() if not (is_small(count) and _is_of_forget_set(key))}
        for name in MODELS
        if name in results
    }
    return {**results, **models, "history": public_history(history, SetNames(sets), count)}


def _is_of_forget_set(key: str) -> bool:
    metric = METRICS.get(key.removesuffix("_low").removesuffix("_high"))
    return metric is not None and metric.split == "forget"


__all__ = ["save_run"]
