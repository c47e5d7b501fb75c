"""Make a DDPM from `train.py` forget a digit, from the images of that digit alone.

    accelerate launch recipes/ddpm/unlearn.py --config recipes/ddpm/configs/mnist16_unlearn.yaml

Writes the pipeline, `results.json`, `curves.png` and `generated.png` to the output directory. The images of the other
digits are only compared with, for KID.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from hf_invwnn import UnlearningArguments
from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.diffusion import ClassForgetting, ForgetClassArguments, load_pipeline
from hf_invwnn.diffusion.plots import GeneratedRow, plot_forgetting, plot_generated
from hf_invwnn.files import write_json
from hf_invwnn.image_classification import DataArguments, load_images


@dataclass
class RecipeArguments:
    method: str = field(default="invwnn", metadata={"help": "'invwnn', 'task_vector' or 'neg_grad'."})
    predictor: str = field(default="base", metadata={"help": "Of invwnn: 'base', or a folder or Hub id."})
    columns: int = field(default=20, metadata={"help": "Images of a row of generated.png."})


def main() -> None:
    data, forget, recipe, args = parse_yaml_and_flags(
        (DataArguments, ForgetClassArguments, RecipeArguments, UnlearningArguments), __doc__
    )
    logging.basicConfig(level=logging.INFO)
    train, test = load_images(data, args.seed)
    forgetting = ClassForgetting(forget, train, test, data.image_column, data.label_column)
    before = forgetting.generate(load_pipeline(forget.pipeline).pipeline)
    own = {"predictor": recipe.predictor} if recipe.method == "invwnn" else {}
    unlearner, results = forgetting.run(recipe.method, args, **own)
    unlearner.save_model()
    if not unlearner.is_world_process_zero():
        return
    output_dir = Path(str(args.output_dir))
    write_json(results, output_dir / "results.json")
    after = forgetting.generate(unlearner.pipeline)
    if before is None or after is None or forgetting.judge is None:
        return
    rows = {}
    for name, generation in (("before", before), (recipe.method, after)):
        pixels = (generation.images[: recipe.columns].mean(dim=1) / 2 + 0.5).numpy()
        rows[name] = GeneratedRow(pixels, generation.verdicts.probabilities[: recipe.columns].numpy())
    plot_generated(rows, output_dir / "generated.png", forgetting.judge.forget_class)
    curves = {recipe.method: results["history"]}
    plot_forgetting(curves, output_dir / "curves.png", forget.max_forget_ratio, features=results["features"])
    logging.info("%s -> %s, %s", results["before"], results["after"], results["stopped"])


if __name__ == "__main__":
    main()
