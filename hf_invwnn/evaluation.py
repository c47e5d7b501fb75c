"""Any pair of classifiers, whoever made them, judged on the splits of an experiment."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoImageProcessor, AutoModelForImageClassification

from .image_tensors import ImageTensors
from .metrics import forgetting_shares, per_example, retraining_distance, unlearning_report
from .metrics.judge import classify
from .processed_images import ProcessedImages, process_images
from .relearning import relearn
from .report import write_results
from .scenarios import UnlearningSplits


COMPARED = ("RA", "UA", "TA", "MIA")


def evaluate_pair(
    model: str,
    reference: str,
    splits: UnlearningSplits,
    output_dir: str | os.PathLike,
    original: str | None = None,
    image_column: str = "image",
    margin: float = 0.1,
    relearn_level: float = 0.9,
    max_relearning_steps: int = 500,
) -> dict[str, Any]:
    """
    Judges a model beside a reference, the oracle as a rule, and writes `evaluation.json` and `per_example.parquet`.

    The second holds a row for each forgotten example, by its row number in `train`: losses and confidences before,
    after and under the reference, and whether it is forgotten less (`under`), more (`over`) or as much (`matched`).
    It is private.

    Args:
        model (`str`), reference (`str`): Folders or Hub ids of image classifiers; their image processors must agree.
        splits ([`UnlearningSplits`]): Who was to be forgotten.
        output_dir (`str` or `os.PathLike`): Where the results go.
        original (`str`, *optional*): The model before unlearning.
        image_column (`str`, defaults to `"image"`): Column of the images.
        margin (`float`, defaults to 0.1): In confidence, see [`~hf_invwnn.metrics.forgetting_shares`].
        relearn_level (`float`, defaults to 0.9), max_relearning_steps (`int`, defaults to 500): `level` and
            `max_steps` of [`~hf_invwnn.relearning.relearn`]; 0 steps leave it out.

    Returns:
        `dict`: What `evaluation.json` holds: for each model RA, UA, TA, MIA, loss AUC and what relearning
        brought back; their distance; the shares.

    Raises:
        ValueError: A model knows fewer classes than the splits have, or nothing is retained.
    """
    if not len(splits.retain):
        raise ValueError("`splits` retain nothing, so there is no RA, no MIA and no retrained model to compare with.")
    names = {"original": original, "model": model, "reference": reference}
    judged: dict[str, Any] = {}
    confidences: dict[str, np.ndarray] = {}
    columns: dict[str, Any] = {"row": list(splits.forget_indices)}
    for name, source in names.items():
        if source is None:
            continue
        classifier = AutoModelForImageClassification.from_pretrained(source, use_safetensors=True)
        sets = _sets(splits, source, image_column)
        _check_classes(name, source, classifier, sets)
        outputs = {part: classify(classifier, dataset, 500) for part, dataset in sets.items()}
        logits, labels = ({part: pair[i] for part, pair in outputs.items()} for i in range(2))
        judged[name] = {"source": str(source), **unlearning_report(logits, labels)}
        found = per_example(logits["forget"], labels["forget"])
        confidences[name] = found.confidences
        columns |= {f"{name}_loss": found.losses, f"{name}_confidence": found.confidences}
        if max_relearning_steps:
            scratch = str(Path(output_dir) / "scratch")
            found_again = relearn(
                classifier,
                sets["forget"],
                sets["retain"],
                scratch,
                relearn_level,
                max_relearning_steps,
                measure_steps=min(10, max_relearning_steps),
            )
            judged[name]["relearning"] = asdict(found_again)
    shares = forgetting_shares(confidences["model"], confidences["reference"], margin)
    columns["verdict"] = shares.verdicts
    ours, theirs = ([judged[name][metric] for metric in COMPARED] for name in ("model", "reference"))
    results = {
        **judged,
        "distance": retraining_distance(ours, theirs, COMPARED),
        "shares": {"under": shares.under, "over": shares.over, "matched": shares.matched, "margin": margin},
        "relearn_level": relearn_level if max_relearning_steps else None,
        "splits": splits.summary(),
    }
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns).to_parquet(Path(output_dir) / "per_example.parquet")
    write_results(results, Path(output_dir) / "evaluation.json")
    return results


def evaluation_table(results: dict[str, Any]) -> str:
    """Markdown of what [`evaluate_pair`] returns."""
    rows = [
        "| model | RA | UA | TA | MIA | loss AUC | steps on D_r until D_f is known |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in ("original", "model", "reference"):
        if name in results:
            judged = results[name]
            interval = f"{judged['loss_auc']:.3f} ({judged['loss_auc_low']:.3f} to {judged['loss_auc_high']:.3f})"
            cells = [f"{judged[metric]:.2f}" for metric in COMPARED]
            rows.append(f"| {name} | {' | '.join(cells)} | {interval} | {_relearned(judged.get('relearning'))} |")
    shares = results["shares"]
    rows += [
        "",
        f"Of the forget set, {shares['under']:.1f} % are forgotten less than by the reference, {shares['over']:.1f} % "
        f"more, {shares['matched']:.1f} % as much, to {shares['margin']:g} in confidence.",
    ]
    return "\n".join(rows)


def _relearned(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"never; up to {found['highest']:.1f} %" if found["steps"] is None else str(found["steps"])


def _sets(splits: UnlearningSplits, source: str, image_column: str) -> dict[str, ImageTensors | ProcessedImages]:
    processor = AutoImageProcessor.from_pretrained(source, backend="pil")
    return {
        name: process_images(getattr(splits, name), processor, image_column, splits.label_column)
        for name in ("forget", "retain", "test")
    }


def _check_classes(name: str, source: str, classifier: Any, sets: dict[str, ImageTensors | ProcessedImages]) -> None:
    largest = max(int(dataset.labels.max()) for dataset in sets.values())
    if classifier.config.num_labels <= largest:
        raise ValueError(
            f"`{name}` {source} knows the classes 0..{classifier.config.num_labels - 1}, but the splits have the "
            f"label {largest}."
        )


__all__ = ["evaluate_pair", "evaluation_table"]
