"""Unlearn a digit from a DDPM of `train.py`, with the images of that digit only.

    accelerate launch recipes/ddpm/unlearn.py --config recipes/ddpm/configs/mnist16_unlearn.yaml

Writes the pipeline, `results.json`, `curves.png` and `generated.png` to the output directory. Images of the other
digits are used for KID only.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState

from hf_invwnn import UnlearningArguments
from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.diffusion import ClassForgetting, ForgetClassArguments, load_pipeline
from hf_invwnn.diffusion.plots import GeneratedRow, plot_forgetting, plot_generated
from hf_invwnn.files import write_json
from hf_invwnn.image_classification import DataArguments, load_images


@dataclass
class RecipeArguments:
    method: str = field(default="invwnn", metadata={"help": "'invwnn', 'task_vector' or 'neg_grad'."})
    predictor: str = field(default="base", metadata={"help": "Predictor of invwnn: 'base', a folder or a Hub id."})
    columns: int = field(default=20, metadata={"help": "Images in each row of generated.png."})


def main() -> None:
    data, forget, recipe, args = parse_yaml_and_flags(
        (DataArguments, ForgetClassArguments, RecipeArguments, UnlearningArguments), __doc__
    )
    logging.basicConfig(level=logging.INFO)
    train, test = load_images(data, args.seed)
    forgetting = ClassForgetting(forget, train, test, data.image_column, data.label_column)
    original = forgetting.generate(load_pipeline(forget.pipeline).pipeline)
    kwargs = {"predictor": recipe.predictor} if recipe.method == "invwnn" else {}
    unlearner, results = forgetting.run(recipe.method, args, **kwargs)
    unlearner.save_model()
    if not unlearner.is_world_process_zero():
        return
    output_dir = Path(str(args.output_dir))
    write_json(results, output_dir / "results.json")
    unlearned = forgetting.generate(unlearner.model.pipeline)
    if original is None or unlearned is None or forgetting.judge is None:
        return
    rows = {}
    for name, generation in (("original", original), (recipe.method, unlearned)):
        pixels = (generation.images[: recipe.columns].mean(dim=1) / 2 + 0.5).numpy()
        rows[name] = GeneratedRow(pixels, generation.outputs.probabilities[: recipe.columns].numpy())
    plot_generated(rows, output_dir / "generated.png", forgetting.judge.forget_class)
    curves = {recipe.method: results["history"]}
    plot_forgetting(curves, output_dir / "curves.png", forget.max_forget_ratio, features=results["features"])
    logging.info("%s -> %s, %s", results["original"], results["unlearned"], results["stopped"])


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # joins its threads, which may abort a program that ends before them
