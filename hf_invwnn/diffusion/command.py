"""What `hf-invwnn unlearn-diffusion` does."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path

from ..image_classification import DataArguments, load_images
from ..report import write_results
from ..training_args import UnlearningArguments
from .forget_class import ClassForgetting, ForgetClassArguments
from .unlearner import DIFFUSION_METHODS


def unlearn_diffusion(options: Namespace) -> str:
    """
    Makes a pipeline forget a class, and saves it with `results.json`.

    Args:
        options (`argparse.Namespace`): The options of the command.

    Returns:
        `str`: What was reached, for the screen.

    Raises:
        ValueError: An option cannot work; the message names it.
    """
    if options.method not in DIFFUSION_METHODS:
        raise ValueError(f"`method` must be one of {', '.join(DIFFUSION_METHODS)}, got {options.method!r}.")
    given = {item.name: getattr(options, item.name, None) for item in dataclasses.fields(ForgetClassArguments)}
    arguments = ForgetClassArguments(
        **{name: value for name, value in given.items() if value is not None}, noise_seed=options.seed
    )
    args = UnlearningArguments(
        output_dir=options.output_dir,
        learning_rate=options.learning_rate,
        residual_scale=options.residual_scale,
        num_rewinds=options.num_rewinds,
        snapshot_strategy="steps",
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=max(options.batch_size, 256),
        seed=options.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
    )
    data = DataArguments(dataset=options.dataset, image_column=options.image_column, label_column=options.label_column)
    train, _ = load_images(data, options.seed)
    forgetting = ClassForgetting(
        arguments, train, image_column=options.image_column, label_column=options.label_column
    )
    unlearner, results = forgetting.run(options.method, args)
    unlearner.save_model()
    write_results(results, Path(options.output_dir) / "results.json")
    lines = [f"Stopped: {results['stopped']}.", f"The pipeline and results.json are in {options.output_dir}."]
    if "after" in results:
        before, after = results["before"], results["after"]
        lines = [
            f"Of class {options.forget_class}: {before['forget_ratio']:.2f} % of {arguments.num_images} images "
            f"before, {after['forget_ratio']:.2f} % after.",
            f"KID to the other classes: {before['kid']:.3f} before, {after['kid']:.3f} after ({results['features']}).",
            *lines,
        ]
    return "\n".join(lines)


__all__ = ["unlearn_diffusion"]
