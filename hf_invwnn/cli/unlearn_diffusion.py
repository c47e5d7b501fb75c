"""`hf-invwnn unlearn-diffusion`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..diffusion import ClassForgetting, ForgetClassArguments
from ..files import write_json
from ..image_classification import DataArguments, load_images
from ..metrics import METRICS
from ..trainer.arguments import UnlearningArguments
from .parser import parse_command


@dataclass
class RunArguments:
    output_dir: str = field(default="forgotten", metadata={"help": "Folder for the pipeline and results.json."})
    method: str = field(
        default="invwnn", metadata={"help": "A method without labels: 'invwnn', 'task_vector' or 'neg_grad'."}
    )
    learning_rate: float = field(default=1e-4, metadata={"help": "Learning rate of the optimizer."})
    residual_scale: float = field(default=1.0, metadata={"help": "Factor of the predicted change of each rewind."})
    num_rewinds: int = field(default=30, metadata={"help": "Maximum number of rounds."})
    recovery_steps: int | None = field(
        default=None, metadata={"help": "Steps of recovery after the rewinds; InvWNN: 600, other methods: 0."}
    )
    batch_size: int = field(default=32, metadata={"help": "Images in an optimizer step."})
    seed: int = field(default=0, metadata={"help": "Seed of the order of the images and of the training noise."})


def main(words: Sequence[str], summary: str) -> None:
    kinds = [ForgetClassArguments, DataArguments, RunArguments]
    forgetting, data, run = parse_command("unlearn-diffusion", words, kinds, summary)
    print(unlearn_diffusion(forgetting, data, run))


def unlearn_diffusion(arguments: ForgetClassArguments, data: DataArguments, run: RunArguments) -> str:
    """
    Makes a pipeline forget a class, and saves it with `results.json`.

    Returns:
        `str`: A summary of the result.

    Raises:
        ValueError: An argument cannot work; the message names it.
    """
    if arguments.noise_seed is None:
        arguments = replace(arguments, noise_seed=run.seed)
    args = UnlearningArguments(
        output_dir=run.output_dir,
        learning_rate=run.learning_rate,
        residual_scale=run.residual_scale,
        num_rewinds=run.num_rewinds,
        recovery_steps=run.recovery_steps,
        snapshot_strategy="steps",
        per_device_train_batch_size=run.batch_size,
        per_device_eval_batch_size=max(run.batch_size, 256),
        seed=run.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
    )
    train, _ = load_images(data, run.seed)
    forgetting = ClassForgetting(arguments, train, image_column=data.image_column, label_column=data.label_column)
    unlearner, results = forgetting.run(run.method, args)
    unlearner.save_model()
    write_json(results, Path(run.output_dir) / "results.json")
    lines = [f"Stopped: {results['stopped']}.", f"The pipeline and results.json are in {run.output_dir}."]
    if "unlearned" in results:
        original, unlearned = results["original"], results["unlearned"]
        ratio, kid = METRICS["forget_ratio"], METRICS["kid"]
        lines = [
            f"Of {arguments.num_images} generated images, {ratio.format(original['forget_ratio'])} % were of class "
            f"{arguments.forget_class} before and {ratio.format(unlearned['forget_ratio'])} % after.",
            f"KID to the other classes: {kid.format(original['kid'])} before, {kid.format(unlearned['kid'])} after "
            f"({results['features']}).",
            *lines,
        ]
    return "\n".join(lines)


__all__ = ["main", "unlearn_diffusion"]
