"""Unlearners of diffusion pipelines: the methods there are, with the loss of noise prediction."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from torch import nn
from transformers.trainer_utils import TrainOutput

from ..base_unlearner import Unlearner
from ..baselines import NegGradUnlearner, TaskVectorUnlearner
from ..training_args import UnlearningArguments
from ..unlearner import InvWNNUnlearner
from .images import DiffusionImages, check_images
from .judging import FORGET_RATIO, ForgetRatioJudge, ForgetRatioTarget
from .moving_average import FollowingAverage
from .noise_prediction import FixedNoise
from .pipelines import load_pipeline, noise_scheduler, save_pipeline
from .sampling import NonFiniteImages
from .trainer import NoisePredictionTrainer


if TYPE_CHECKING:

    class _Base(Unlearner, NoisePredictionTrainer):
        """What a [`DiffusionUnlearner`] is mixed into."""

else:
    _Base = object


class DiffusionUnlearner(_Base):
    r"""
    What makes an unlearner of this package one for diffusion pipelines. A method inherits from this, its own
    [`Unlearner`] and [`NoisePredictionTrainer`], in that order: so a loss of its own has that of noise prediction
    below it.

    Args:
        pipeline (`DiffusionPipeline`, `str` or `os.PathLike`): A DDPM or DDIM pipeline, or the folder or Hub id of
            one; any pipeline with a `unet` and a `scheduler` that can add noise. Its UNet is changed in place by
            `train()`. Where PEFT has put LoRA layers into the UNet, only these are.
        args ([`UnlearningArguments`]): How to unlearn and when to stop.
        forget_dataset (`datasets.Dataset` or `Dataset`): D_f: a data set with a column of images in the size of the
            UNet, or one that gives dictionaries with `pixel_values` in [-1, 1] and what else the UNet takes, such as
            [`DiffusionImages`].
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): Evaluated after every turn, with noise and
            timesteps that stay the same.
        forget_eval_dataset (`Dataset`, *optional*): Evaluated in place of `forget_dataset`.
        judge ([`ForgetRatioJudge`], *optional*): Generates after every turn and says how much is of the forgotten
            class; [`ForgetRatioTarget`] among the `stopping_rules` needs it.
        trained_unet (`nn.Module`, *optional*): The weights that training ended with, where those of the pipeline's
            UNet are their moving average. They are what is fine-tuned; the average follows them
            ([`FollowingAverage`]), generates and is judged. A folder with a variant `non_ema` of the UNet brings them.
        image_column (`str`, defaults to `"image"`): Column of the images of a `datasets.Dataset`.
        label_column (`str`, defaults to `"label"`): Its column of class ids, for a class-conditional UNet.
        kwargs: The other arguments of the method's unlearner.

    Attributes:
        pipeline (`DiffusionPipeline`): Generates without what was forgotten, after `train()`.
        history (`list[dict[str, float]]`): As of every [`Unlearner`]; with a judge, also `eval_forget_ratio` in
            percent and, where it computes it, `eval_kid`.

    Raises:
        ValueError, TypeError: An argument cannot work; the message names it. The pipeline is unchanged.
    """

    def __init__(
        self,
        pipeline: Any,
        args: UnlearningArguments,
        forget_dataset: Any,
        eval_dataset: Any = None,
        forget_eval_dataset: Any = None,
        *,
        judge: ForgetRatioJudge | None = None,
        trained_unet: nn.Module | None = None,
        image_column: str = "image",
        label_column: str = "label",
        **kwargs: Any,
    ) -> None:
        loaded = load_pipeline(pipeline)
        self.pipeline, self.judge = loaded.pipeline, judge
        trained = loaded.trained if trained_unet is None else trained_unet
        unet: nn.Module = self.pipeline.unet if trained is None else trained
        self.moving_average = None if trained is None else FollowingAverage(self.pipeline.unet, trained)
        self.noise_scheduler = noise_scheduler(self.pipeline.scheduler)
        if judge is None and any(isinstance(rule, ForgetRatioTarget) for rule in kwargs.get("stopping_rules", ())):
            raise ValueError("`judge` is None, and the forget ratio cannot be known without; pass a ForgetRatioJudge.")

        def examples(name: str, dataset: Any) -> Any:
            found = _examples(dataset, unet, image_column, label_column)
            if isinstance(found, Sized) and len(found):
                check_images(name, found, unet)
            return found

        def evaluated(name: str, dataset: Any) -> Any:
            found = examples(name, dataset)
            return FixedNoise(found, self.noise_scheduler.config.num_train_timesteps) if _is_sized(found) else found

        forget = examples("forget_dataset", forget_dataset)
        forget_eval = forget if forget_eval_dataset is None else forget_eval_dataset
        if isinstance(eval_dataset, Mapping):
            eval_dataset = {name: evaluated(f"eval_dataset[{name!r}]", part) for name, part in eval_dataset.items()}
        elif eval_dataset is not None:
            eval_dataset = evaluated("eval_dataset", eval_dataset)
        super().__init__(unet, args, forget, eval_dataset, evaluated("forget_eval_dataset", forget_eval), **kwargs)

    def _check_arguments(self, args: UnlearningArguments) -> None:
        super()._check_arguments(args)
        if args.target_ua is not None:
            raise ValueError(
                f"`target_ua` means nothing for a diffusion model, got {args.target_ua}; pass a ForgetRatioJudge as "
                "`judge`, and ForgetRatioTarget() in `stopping_rules`."
            )
        if args.push_to_hub:
            raise ValueError(
                "`push_to_hub` must stay False: what belongs on the Hub is the pipeline; call its `push_to_hub` after "
                "`train()`."
            )

    def measure(self, splits: Sequence[str] | None = None) -> dict[str, float]:
        """Evaluates as every unlearner does, and asks the judge, which rules without an evaluation set want."""
        metrics: dict[str, float] = super().measure(splits)
        if self.judge is None or splits:
            return metrics
        self._settle()
        judged = self._judged(self.judge, searching=splits is not None)
        if self.args.world_size > 1:
            # Every rank has to stop at the same step.
            judged = broadcast_object_list([judged])[0]
        return metrics | judged

    def _judged(self, judge: ForgetRatioJudge, searching: bool) -> dict[str, float]:
        try:
            return judge(self.pipeline.unet, self.noise_scheduler)
        except NonFiniteImages:
            if not searching:  # the whole turn is undone
                raise
            return {FORGET_RATIO: math.nan}

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Unlearns; takes, returns and raises what [`Unlearner.train`] does. The pipeline then has the result."""
        try:
            return super().train(*args, **kwargs)
        finally:
            self._settle()

    def save_model(self, output_dir: str | os.PathLike | None = None, _internal_call: bool = False) -> None:
        """
        Saves the pipeline, for its own `from_pretrained`; LoRA layers are merged.

        Args:
            output_dir (`str` or `os.PathLike`, *optional*): Where to; that of the arguments by default.
        """
        if _internal_call:  # a checkpoint, which holds weights to go on from
            super().save_model(str(output_dir), _internal_call=True)
            return
        self._settle()
        if self.is_world_process_zero():
            trained = None if self.moving_average is None else self.moving_average.trained
            save_pipeline(self.pipeline, str(output_dir or self.args.output_dir), trained)
            if self.unlearning.stop_reason is not None:
                self.save_record(output_dir)

    def _settle(self) -> None:
        """Brings the pipeline to where the weights are now."""
        if self.moving_average is not None:
            self.moving_average.follow()
        self.pipeline.unet.eval()


class InvWNNDiffusionUnlearner(DiffusionUnlearner, InvWNNUnlearner, NoisePredictionTrainer):
    """
    [`InvWNNUnlearner`] for diffusion pipelines: fine-tunes the UNet on the images to forget, records every tracked
    parameter, predicts what it was before, puts that in, again and again. Takes and raises what [`DiffusionUnlearner`]
    and [`InvWNNUnlearner`] do.
    """


class TaskVectorDiffusionUnlearner(DiffusionUnlearner, TaskVectorUnlearner, NoisePredictionTrainer):
    """[`TaskVectorUnlearner`] for diffusion pipelines. Takes and raises what the two do."""


class NegGradDiffusionUnlearner(DiffusionUnlearner, NegGradUnlearner, NoisePredictionTrainer):
    """[`NegGradUnlearner`] for diffusion pipelines. Takes and raises what the two do."""


# The methods that need no labels, and so work for images alone.
DIFFUSION_METHODS: dict[str, type[DiffusionUnlearner]] = {
    "invwnn": InvWNNDiffusionUnlearner,
    "task_vector": TaskVectorDiffusionUnlearner,
    "neg_grad": NegGradDiffusionUnlearner,
}


def _examples(dataset: Any, unet: nn.Module, image_column: str, label_column: str) -> Any:
    """A data set of images as tensors; anything else as it is."""
    columns = getattr(dataset, "column_names", None)
    if not isinstance(columns, list) or "pixel_values" in columns or len(dataset) == 0:
        return dataset
    conditional = getattr(unet.config, "num_class_embeds", None) is not None
    return DiffusionImages.from_dataset(dataset, image_column, label_column if conditional else None)


def _is_sized(dataset: Any) -> bool:
    return isinstance(dataset, Sized) and len(dataset) > 0


__all__ = [
    "DIFFUSION_METHODS",
    "DiffusionUnlearner",
    "InvWNNDiffusionUnlearner",
    "NegGradDiffusionUnlearner",
    "TaskVectorDiffusionUnlearner",
]
