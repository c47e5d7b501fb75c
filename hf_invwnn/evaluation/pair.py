"""Evaluation of an unlearned classifier beside a retrained one; any two classifiers can be compared."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from ..audit.tables import RESULT_METRICS, markdown_table
from ..files import write_json
from ..image_classification import ImageTensors, ProcessedImages, load_classifier, predict, split_datasets
from ..metrics import METRICS, MODELS, forgetting_shares, per_example, retraining_distance, unlearning_metrics
from ..metrics.retraining_distance import NAMES
from ..scenarios import UnlearningSplits
from .left_behind import left_behind, left_behind_table
from .relearning import relearn


def evaluate_pair(
    unlearned: str,
    retrained: str,
    splits: UnlearningSplits,
    output_dir: str | os.PathLike,
    original: str | None = None,
    image_column: str = "image",
    margin: float = 0.1,
    relearn_level: float = 0.9,
    max_relearning_steps: int = 500,
) -> dict[str, Any]:
    """
    Evaluates an unlearned model beside a retrained one, and writes `evaluation.json` and `per_example.parquet`.

    Both files are private, and only their owner can read them. The second has a row for each example of the forget
    set: its row number in `train`, losses and confidences under all models, and whether the example is forgotten less
    (`under`), more (`over`) or as much (`matched`) as by retraining.

    Args:
        unlearned (`str`), retrained (`str`): Folders or Hub ids of image classifiers with the same preprocessing. Any
            other reference can take the place of the retrained model.
        splits ([`UnlearningSplits`]): The splits of the experiment.
        output_dir (`str` or `os.PathLike`): Folder for the results.
        original (`str`, *optional*): The model before unlearning.
        image_column (`str`, defaults to `"image"`): Column of the images.
        margin (`float`, defaults to 0.1): `margin` of [`~hf_invwnn.metrics.forgetting_shares`].
        relearn_level (`float`, defaults to 0.9), max_relearning_steps (`int`, defaults to 500): `level` and
            `max_steps` of [`relearn`]; 0 steps skip relearning.

    Returns:
        `dict`: The content of `evaluation.json`: RA, UA, TA, MIA, loss AUC, relearning and what else is
        [left behind](`left_behind`) of each model, the distance between the unlearned and the retrained model, and the
        shares.

    Raises:
        ValueError: A model has fewer classes than the splits, or the retain set is empty.
    """
    if not len(splits.retain):
        raise ValueError("The retain set of `splits` is empty, so RA, MIA and a retrained model are undefined.")
    sources = {"original": original, "unlearned": unlearned, "retrained": retrained}
    results: dict[str, Any] = {}
    confidences: dict[str, np.ndarray] = {}
    columns: dict[str, Any] = {"row": list(splits.forget_indices)}
    before = None if original is None else load_classifier(original)[0]
    for name, source in sources.items():
        if source is None:
            continue
        classifier, processor = load_classifier(source)
        sets = split_datasets(splits, processor, image_column)
        _check_classes(name, source, classifier, sets)
        outputs = {split: predict(classifier, dataset, 500) for split, dataset in sets.items()}
        logits, labels = ({split: pair[i] for split, pair in outputs.items()} for i in range(2))
        results[name] = {"source": str(source), **unlearning_metrics(logits, labels)}
        examples = per_example(logits["forget"], labels["forget"])
        confidences[name] = examples.confidences
        columns |= {f"{name}_loss": examples.losses, f"{name}_confidence": examples.confidences}
        results[name]["left_behind"] = left_behind(classifier, sets, before if name == "unlearned" else None)
        if max_relearning_steps:
            relearning = relearn(
                classifier,
                sets["forget"],
                sets["retain"],
                str(Path(output_dir) / "scratch"),
                relearn_level,
                max_relearning_steps,
                measure_steps=min(10, max_relearning_steps),
            )
            results[name]["relearning"] = asdict(relearning)
    shares = forgetting_shares(confidences["unlearned"], confidences["retrained"], margin)
    columns["verdict"] = shares.verdicts
    ours, theirs = ([results[name][metric] for metric in NAMES] for name in ("unlearned", "retrained"))
    results |= {
        "distance": retraining_distance(ours, theirs, NAMES),
        "shares": {"under": shares.under, "over": shares.over, "matched": shares.matched, "margin": margin},
        "relearn_level": relearn_level if max_relearning_steps else None,
        "splits": splits.summary(),
    }
    Path(output_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
    Dataset.from_dict(columns).to_parquet(Path(output_dir) / "per_example.parquet")
    (Path(output_dir) / "per_example.parquet").chmod(0o600)
    write_json(results, Path(output_dir) / "evaluation.json", mode=0o600)
    return results


def evaluation_table(results: dict[str, Any]) -> str:
    """The results of [`evaluate_pair`] in Markdown."""
    auc = METRICS["loss_auc"]
    rows = [["model", *(METRICS[name].title for name in RESULT_METRICS), auc.title, "steps on D_r to relearn D_f"]]
    for name in MODELS:
        if name in results:
            values = results[name]
            value, low, high = (auc.format(values[key]) for key in ("loss_auc", "loss_auc_low", "loss_auc_high"))
            cells = [METRICS[metric].format(values[metric]) for metric in RESULT_METRICS]
            rows.append([name, *cells, f"{value} ({low} to {high})", _relearning_cell(values.get("relearning"))])
    shares = results["shares"]
    return (
        f"{markdown_table(rows)}\n\nOf the forget set, {shares['under']:.1f} % are forgotten less than by retraining, "
        f"{shares['over']:.1f} % more, {shares['matched']:.1f} % as much (within {shares['margin']:g} in confidence)."
        f"\n\nWhat is left of the forget set in the weights:\n\n{left_behind_table(results)}"
    )


def _relearning_cell(relearning: dict[str, Any] | None) -> str:
    if relearning is None:
        return ""
    return f"never; up to {relearning['highest']:.1f} %" if relearning["steps"] is None else str(relearning["steps"])


def _check_classes(name: str, source: str, classifier: Any, sets: dict[str, ImageTensors | ProcessedImages]) -> None:
    largest = max(int(dataset.labels.max()) for dataset in sets.values())
    if classifier.config.num_labels <= largest:
        raise ValueError(
            f"`{name}` {source} has the classes 0..{classifier.config.num_labels - 1}, but the splits have the label "
            f"{largest}."
        )


__all__ = ["evaluate_pair", "evaluation_table"]
