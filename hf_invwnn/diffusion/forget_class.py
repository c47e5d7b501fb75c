"""Unlearning of one class by a diffusion pipeline: from the names of pipeline, class and classifier to the metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from datasets import Dataset

from ..scenarios.class_removal import class_id
from ..scenarios.labels import integer_labels
from ..trainer.arguments import UnlearningArguments
from ..trainer.checks import check_output_dir
from ..trainer.unlearner import Unlearner
from .classifier import ImageClassifier
from .images import DiffusionImages
from .judging import ForgetRatioJudge, ForgetRatioTarget, Generation
from .kernel_distance import KernelDistance
from .pipelines import load_pipeline, noise_scheduler
from .sampling import fixed_noise
from .unlearner import diffusion_unlearner


@dataclass
class ForgetClassArguments:
    """What to forget, and how to measure it."""

    pipeline: str = field(metadata={"help": "Folder or Hub id of the diffusion pipeline."})
    forget_class: str = field(metadata={"help": "The class to forget, by id or by name."})
    classifier: str | None = field(
        default=None,
        metadata={"help": "Folder or Hub id of an image classifier; without one, all rounds are done."},
    )
    resize: bool = field(default=False, metadata={"help": "Resize images to the size of the UNet."})
    max_forget_ratio: float = field(
        default=1.0,
        metadata={"help": "Stop where at most this share of the generated images is in the class, in percent."},
    )
    num_images: int = field(default=500, metadata={"help": "Images generated for each measurement."})
    num_inference_steps: int = field(default=50, metadata={"help": "DDIM steps for each image."})
    generation_batch_size: int = field(default=250, metadata={"help": "Images generated in a batch."})
    noise_seed: int | None = field(
        default=None,
        metadata={"help": "Seed of the noise of generated images; that of the run by default."},
    )
    kid_subset_size: int = field(default=250, metadata={"help": "Images in each subset of KID."})
    kid_subsets: int = field(default=50, metadata={"help": "Number of subsets of KID."})


class ClassImages(NamedTuple):
    """The images of the class, `forget`, and all others, `retain`."""

    forget: DiffusionImages
    retain: DiffusionImages


def images_of_class(
    dataset: Dataset,
    forget_class: int | str,
    image_column: str = "image",
    label_column: str = "label",
    size: int | None = None,
    conditional: bool = False,
) -> ClassImages:
    """
    Splits a data set into the images of one class and all others.

    Args:
        dataset (`datasets.Dataset`): Images and class ids.
        forget_class (`int` or `str`): Id of the class, or its name if the column is a `ClassLabel`.
        image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.
        size (`int`, *optional*): Height and width to resize to.
        conditional (`bool`, defaults to `False`): Whether the UNet takes the class ids.

    Raises:
        ValueError: There is no such column or class, or all images are in the class.
    """
    in_class = integer_labels(dataset, label_column, "dataset") == _class_id(dataset, forget_class, label_column)
    if not in_class.any() or in_class.all():
        count = "all" if in_class.all() else "none"
        raise ValueError(f"`forget_class` {forget_class!r}: {count} of the images are in that class.")
    images = DiffusionImages.from_dataset(dataset, image_column, label_column if conditional else None, size)
    return ClassImages(*(images.select(torch.from_numpy(part).nonzero()[:, 0]) for part in (in_class, ~in_class)))


def make_judge(
    arguments: ForgetClassArguments, unet: Any, reference: DiffusionImages, forget_id: int, progress: bool = True
) -> ForgetRatioJudge | None:
    """
    Makes the judge that the arguments describe, with KID to real images of all other classes.

    Args:
        arguments ([`ForgetClassArguments`]): Without a `classifier` the judge is `None`.
        unet (`nn.Module`): The UNet; its configuration determines the shape of the noise.
        reference ([`DiffusionImages`]): Real images, none in the class.
        forget_id (`int`): Id of the class.
        progress (`bool`, defaults to `True`): Whether to show a progress bar while images are generated.

    Raises:
        ValueError: The classifier does not have the class, or there are too few images for KID.
    """
    if arguments.classifier is None:
        return None
    classifier = ImageClassifier.from_pretrained(arguments.classifier)
    seed = arguments.noise_seed or 0
    noise = fixed_noise(arguments.num_images, unet, seed)
    conditions = None
    if classes := getattr(unet.config, "num_class_embeds", None):
        conditions = {"class_labels": torch.arange(len(noise)) % classes}
    distance = KernelDistance(
        reference.pixel_values, classifier, arguments.kid_subset_size, arguments.kid_subsets, seed
    )
    return ForgetRatioJudge(
        classifier,
        forget_id,
        noise,
        arguments.num_inference_steps,
        arguments.generation_batch_size,
        conditions,
        distance,
        progress,
    )


class ClassForgetting:
    """
    Images, judge and pipeline of one or more runs that forget the same class. All arguments are checked here.

    Args:
        arguments ([`ForgetClassArguments`]): What to forget, and how to measure it.
        dataset (`datasets.Dataset`): Its images in the class are the forget set.
        reference (`datasets.Dataset`, *optional*): Real images that KID compares with, except those in the class;
            `dataset` by default.
        image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.
        progress (`bool`, defaults to `True`): Whether to show a progress bar while images are generated.

    Raises:
        ValueError: An argument cannot work; the message names it.
    """

    def __init__(
        self,
        arguments: ForgetClassArguments,
        dataset: Dataset,
        reference: Dataset | None = None,
        image_column: str = "image",
        label_column: str = "label",
        progress: bool = True,
    ) -> None:
        self.arguments = arguments
        unet = load_pipeline(arguments.pipeline).pipeline.unet
        conditional = getattr(unet.config, "num_class_embeds", None) is not None
        size = unet.config.sample_size if arguments.resize else None
        columns = (image_column, label_column, size, conditional)
        self.forget, retain = images_of_class(dataset, arguments.forget_class, *columns)
        if reference is not None:
            retain = images_of_class(reference, arguments.forget_class, *columns).retain
        forget_id = _class_id(dataset, arguments.forget_class, label_column)
        self.judge = make_judge(arguments, unet, retain, forget_id, progress)

    def generate(self, pipeline: Any) -> Generation | None:
        """Generates images with a pipeline and classifies them; `None` without a classifier."""
        if self.judge is None:
            return None
        return self.judge.generate(pipeline.unet, noise_scheduler(pipeline.scheduler))

    def run(self, method: str, args: UnlearningArguments, **kwargs: Any) -> tuple[Unlearner, dict[str, Any]]:
        """
        Unlearns once, starting from the saved pipeline.

        Args:
            method (`str`): One of [`diffusion_methods`].
            args ([`UnlearningArguments`]): How to unlearn.
            kwargs: Other arguments of the unlearner of the method, such as `predictor`.

        Returns:
            The unlearner, and a `dict` with `method`, `forget_images` (their number), `seconds`, `stopped` (the
            reason) and `history`; with a classifier also `original` and `unlearned` (metrics) and `features` (of KID).

        Raises:
            ValueError: There is no such method, or an argument cannot work.
        """
        check_output_dir(args.output_dir)
        rules = [] if self.judge is None else [ForgetRatioTarget(self.arguments.max_forget_ratio)]
        unlearner = diffusion_unlearner(
            self.arguments.pipeline, args, self.forget, method=method, judge=self.judge, stopping_rules=rules, **kwargs
        )
        began = time.perf_counter()
        unlearner.train()
        results: dict[str, Any] = {
            "method": method,
            "forget_images": len(self.forget),
            "seconds": time.perf_counter() - began,
            "stopped": unlearner.stop_reason,
            "history": unlearner.history,
        }
        if self.judge is not None and self.judge.kernel_distance is not None:
            points = unlearner.history
            results |= {"original": _metrics(points[0]), "unlearned": _metrics(points[-1])}
            results["features"] = self.judge.kernel_distance.features
        return unlearner, results


def _metrics(point: Mapping[str, float]) -> dict[str, float]:
    return {"forget_ratio": point["eval_forget_ratio"], "kid": point["eval_kid"]}


def _class_id(dataset: Dataset, forget_class: int | str, label_column: str) -> int:
    """The id of a class. A string of digits is an id, unless the column has a class of that name."""
    names = getattr(dataset.features[label_column], "names", ()) if label_column in dataset.features else ()
    if isinstance(forget_class, str) and forget_class.isdecimal() and forget_class not in names:
        forget_class = int(forget_class)
    return class_id(dataset, forget_class, label_column)


__all__ = ["ClassForgetting", "ClassImages", "ForgetClassArguments", "images_of_class", "make_judge"]
