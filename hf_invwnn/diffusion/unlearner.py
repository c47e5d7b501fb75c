"""`diffusion_unlearner`: the unlearner of any method without labels, for a diffusion pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

from torch import nn

from ..methods import find_method, make_unlearner, method_names
from ..trainer.arguments import UnlearningArguments
from ..trainer.recovery import steps_of
from ..trainer.unlearner import Unlearner
from .images import DiffusionImages
from .judging import ForgetRatioJudge, ForgetRatioTarget
from .model import NoisePredictionModel
from .noise_prediction import FixedNoise
from .own_samples import OwnSamples


def diffusion_unlearner(
    pipeline: Any,
    args: UnlearningArguments,
    forget_dataset: Any,
    eval_dataset: Any = None,
    forget_eval_dataset: Any = None,
    *,
    method: str = "invwnn",
    judge: ForgetRatioJudge | None = None,
    trained_unet: nn.Module | None = None,
    image_column: str = "image",
    label_column: str = "label",
    stopping_rules: Sequence[Any] = (),
    surrogates: Any = None,
    **kwargs: Any,
) -> Unlearner:
    """
    Makes the unlearner of a method for a diffusion pipeline: the class of the method with a [`NoisePredictionModel`]
    as its model. Images are converted to tensors and checked, and all evaluations use the same noise ([`FixedNoise`]).

    Args:
        pipeline (`DiffusionPipeline`, `str` or `os.PathLike`), trained_unet (`nn.Module`, *optional*): As for
            [`NoisePredictionModel`].
        args ([`UnlearningArguments`]): How to unlearn, and when to stop.
        forget_dataset (`datasets.Dataset` or `Dataset`): D_f: a data set with a column of images in the size of the
            UNet, or one of dictionaries with `pixel_values` in [-1, 1] and other inputs of the UNet, such as
            [`DiffusionImages`].
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*), forget_eval_dataset (`Dataset`, *optional*): As
            for [`Unlearner`], in the same form.
        method (`str`, defaults to `"invwnn"`): A method that needs no labels, see
            [`~hf_invwnn.methods.method_names`].
        judge ([`ForgetRatioJudge`], *optional*): Generates images after every round and measures the share of the
            forgotten class; [`ForgetRatioTarget`] in `stopping_rules` needs it.
        image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): Columns of a
            `datasets.Dataset`; the second for a class-conditional UNet.
        stopping_rules (`Sequence[StoppingRule]`, *optional*): Custom rules.
        surrogates ([`Surrogates`], *optional*): As for [`Unlearner`]; [`OwnSamples`] of the pipeline by default.
        kwargs: Other arguments of the unlearner of the method.

    Returns:
        [`Unlearner`], whose `model` is the [`NoisePredictionModel`]; `model.pipeline` generates images.

    Raises:
        ValueError, TypeError: An argument cannot work; the message names it. The pipeline is unchanged.
    """
    if not _suits_diffusion(method):
        raise ValueError(f"`method` must be one of {', '.join(diffusion_methods())}, got {method!r}.")
    if getattr(args, "push_to_hub", False):
        raise ValueError(
            "`push_to_hub` must stay False: call `push_to_hub` of the unlearner after `train()`, or `hf-invwnn push`."
        )
    if judge is None and any(isinstance(rule, ForgetRatioTarget) for rule in stopping_rules):
        raise ValueError("`judge` is None, but ForgetRatioTarget needs one; pass a ForgetRatioJudge.")
    model = NoisePredictionModel(pipeline, trained_unet)

    def examples(name: str, dataset: Any) -> Any:
        images = _images(dataset, model, image_column, label_column)
        if _is_sized(images):
            model.check_examples(name, images)
        return images

    def evaluated(name: str, dataset: Any) -> Any:
        images = examples(name, dataset)
        steps = model.noise_scheduler.config.num_train_timesteps
        return FixedNoise(images, steps) if _is_sized(images) else images

    forget = examples("forget_dataset", forget_dataset)
    if isinstance(eval_dataset, Mapping):
        eval_dataset = {name: evaluated(f"eval_dataset[{name!r}]", part) for name, part in eval_dataset.items()}
    elif eval_dataset is not None:
        eval_dataset = evaluated("eval_dataset", eval_dataset)
    forget_eval = evaluated("forget_eval_dataset", forget if forget_eval_dataset is None else forget_eval_dataset)
    if isinstance(args, UnlearningArguments) and steps_of(args, find_method(method)) and surrogates is None:
        surrogates = OwnSamples(seed=args.seed)
    evaluators = [] if judge is None else [judge.evaluate]
    return make_unlearner(
        method,
        model,
        args,
        forget,
        eval_dataset=eval_dataset,
        forget_eval_dataset=forget_eval,
        evaluators=evaluators,
        stopping_rules=stopping_rules,
        surrogates=surrogates,
        **kwargs,
    )


def diffusion_methods() -> list[str]:
    """Names of the methods that need neither labels nor a retain set."""
    return [name for name in method_names() if _suits_diffusion(name)]


def _suits_diffusion(name: str) -> bool:
    method = find_method(name)
    return not (method.needs_labels or method.needs_retain or method.needs_fixed_outputs)


def _images(dataset: Any, model: NoisePredictionModel, image_column: str, label_column: str) -> Any:
    """Converts a `datasets.Dataset` of images to tensors; returns other data sets unchanged."""
    columns = getattr(dataset, "column_names", None)
    if not isinstance(columns, list) or "pixel_values" in columns or len(dataset) == 0:
        return dataset
    config: Any = model.unet.config
    conditional = getattr(config, "num_class_embeds", None) is not None
    return DiffusionImages.from_dataset(dataset, image_column, label_column if conditional else None)


def _is_sized(dataset: Any) -> bool:
    return isinstance(dataset, Sized) and len(dataset) > 0


__all__ = ["diffusion_methods", "diffusion_unlearner"]
