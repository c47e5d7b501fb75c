"""Unlearn the forget set of a classifier from `train.py`, and compare it with its retrained twin if there is one.

    accelerate launch recipes/image_classification/unlearn.py \\
        --config recipes/image_classification/configs/digits_vit_unlearn.yaml

Writes the unlearned model with its record, `results.json`, `results.md` and `curves.png` to the output directory, and
into its `_private` the files that `hf-invwnn verify` and `hf-invwnn report` need. The recipe trains on the forget set
alone; it evaluates the retain and the test set for the table and the picture.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from accelerate import PartialState
from recipe import check_trained_on

from hf_invwnn import InvWNNUnlearner, UnlearningArguments
from hf_invwnn.audit.tables import results_table
from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.evaluation import save_run
from hf_invwnn.image_classification import load_classifier, split_datasets
from hf_invwnn.scenarios import UnlearningSplits


@dataclass
class RecipeArguments:
    model: str = field(metadata={"help": "Folder of the trained model, with its image processor."})
    splits_dir: str = field(metadata={"help": "Folder of the splits that train.py saved."})
    retrained: str | None = field(default=None, metadata={"help": "Folder of the retrained twin, to compare with."})
    predictor: str = field(
        default="base", metadata={"help": "'base', 'linear' (the task vector), or a folder or Hub id of a predictor."}
    )
    surrogates: str | None = field(
        default=None, metadata={"help": "Images on which recovery keeps the original's answers; 'shifted' by default."}
    )
    image_column: str = field(default="image", metadata={"help": "Column of the images in the splits."})
    resume: bool = field(default=False, metadata={"help": "Resume from the last checkpoint in the output directory."})


def main() -> None:
    recipe, args = parse_yaml_and_flags((RecipeArguments, UnlearningArguments), __doc__)
    logging.basicConfig(level=logging.INFO)
    splits = UnlearningSplits.load_from_disk(recipe.splits_dir)
    check_trained_on("model", recipe.model, "train", splits)
    if recipe.retrained is not None:
        check_trained_on("retrained", recipe.retrained, "retain", splits)
    model, processor = load_classifier(recipe.model)
    datasets = split_datasets(splits, processor, recipe.image_column, ("forget", "retain", "validation", "test"))
    names = {"retain": "retain", "validation": "unseen", "test": "test"}
    unlearner = InvWNNUnlearner(
        model,
        args,
        forget_dataset=datasets["forget"],
        eval_dataset={names[name]: dataset for name, dataset in datasets.items() if name in names},
        predictor=recipe.predictor,
        surrogates=recipe.surrogates,
    )
    start = time.perf_counter()
    unlearner.train(resume_from_checkpoint=recipe.resume)
    seconds = time.perf_counter() - start
    results = save_run(
        unlearner,
        splits,
        datasets,
        processor,
        original=load_classifier(recipe.model)[0],
        retrained=None if recipe.retrained is None else load_classifier(recipe.retrained)[0],
        seconds={"unlearned": seconds},
    )
    if results:
        logging.info("%s\nStopped: %s", results_table(results), unlearner.stop_reason)


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # joins its threads, which may abort a program that ends before them
