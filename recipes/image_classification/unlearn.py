"""Make a classifier from `train.py` forget its forget set, and compare it with its retrained twin if there is one.

    accelerate launch recipes/image_classification/unlearn.py \\
        --config recipes/image_classification/configs/digits_vit_unlearn.yaml

Writes the unlearned model with its record, `results.json`, `results.md` and `curves.png` to the output directory, and
into its `_private` what `hf-invwnn verify` and `hf-invwnn report` need. The retain and the test set are only watched,
for the table and the picture; what is learned from is the forget set alone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from recipe import check_trained_on
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_invwnn import InvWNNUnlearner, UnlearningArguments
from hf_invwnn.audit.charts import plot_curves
from hf_invwnn.audit.private import example_results, save_private_artifacts
from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.files import write_json
from hf_invwnn.image_classification import evaluate_model, predict
from hf_invwnn.image_classification import process_images
from hf_invwnn.metrics import retraining_distance
from hf_invwnn.predictor import load_predictor
from hf_invwnn.scenarios import UnlearningSplits


@dataclass
class RecipeArguments:
    model: str = field(metadata={"help": "Folder of the trained model, with its image processor."})
    splits_dir: str = field(metadata={"help": "Folder of the splits that train.py saved."})
    retrained: str | None = field(default=None, metadata={"help": "Folder of the retrained twin, to compare with."})
    predictor: str = field(
        default="base", metadata={"help": "'base', 'linear' (the task vector), or a folder or Hub id of a predictor."}
    )
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    resume: bool = field(default=False, metadata={"help": "Go on from the last checkpoint in the output directory."})


def load_model(folder: str) -> AutoModelForImageClassification:
    return AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)


def main() -> None:
    recipe, args = parse_yaml_and_flags((RecipeArguments, UnlearningArguments), __doc__)
    logging.basicConfig(level=logging.INFO)
    predictor = load_predictor(recipe.predictor)
    splits = UnlearningSplits.load_from_disk(recipe.splits_dir)
    check_trained_on("model", recipe.model, "train", splits)
    if recipe.retrained is not None:
        check_trained_on("retrained", recipe.retrained, "retain", splits)
    processor = AutoImageProcessor.from_pretrained(recipe.model, backend="pil")
    tensors = {
        name: process_images(getattr(splits, name), processor, recipe.image_column, splits.label_column)
        for name in ("forget", "retain", "validation", "test")
        if len(getattr(splits, name))
    }
    judged = {name: tensors[name] for name in ("forget", "retain", "test")}
    watched = {"retain": tensors["retain"], "test": tensors["test"]}
    if "validation" in tensors:
        watched["unseen"] = tensors["validation"]
    model = load_model(recipe.model)
    results = {"pretrained": evaluate_model(model.to(args.device), judged)}

    unlearner = InvWNNUnlearner(
        model, args, forget_dataset=tensors["forget"], eval_dataset=watched, predictor=predictor
    )
    start = time.perf_counter()
    unlearner.train(resume_from_checkpoint=recipe.resume)
    seconds = time.perf_counter() - start
    unlearner.save_model()
    if not unlearner.is_world_process_zero():
        return

    output_dir = Path(str(args.output_dir))
    processor.save_pretrained(output_dir)
    results["unlearned"] = {**evaluate_model(model, judged), "seconds": seconds}
    models = {"before": load_model(recipe.model).to(args.device), "after": model}
    if recipe.retrained is not None:
        models["oracle"] = load_model(recipe.retrained).to(args.device)
        results["retrained"] = evaluate_model(models["oracle"], judged)
        metrics = ("UA", "RA", "TA", "MIA")
        results["distance"] = retraining_distance(
            [results["unlearned"][name] for name in metrics], [results["retrained"][name] for name in metrics], metrics
        )
    results |= {"history": unlearner.history, "stopped": unlearner.stop_reason, "splits": splits.summary()}
    outcomes = {name: predict(found, tensors["forget"]) for name, found in models.items()}
    kept = {name: (found, processor) for name, found in models.items() if name != "after"}
    save_private_artifacts(output_dir, splits, kept, example_results(splits.forget_indices, outcomes))
    measured = {"before": results["pretrained"], "after": results["unlearned"], "oracle": results.get("retrained")}
    unlearner.save_record(splits=splits, metrics=measured)
    if args.push_to_hub:  # `save_model` pushed before anything was measured
        unlearner.push_to_hub()
    write_json(results, output_dir / "results.json")
    (output_dir / "results.md").write_text(markdown_table(results) + "\n")
    plot_curves(unlearner.history, output_dir / "curves.png", results.get("retrained"), title=splits.scenario)
    logging.info("%s\nStopped: %s", markdown_table(results), unlearner.stop_reason)


if __name__ == "__main__":
    main()
