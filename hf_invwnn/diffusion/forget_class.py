"""One class of images leaves a diffusion pipeline: from names to a judged result."""

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
    """What to forget, and how to tell that it is forgotten."""

    pipeline: str = field(metadata={"help": "Folder or Hub id of the diffusion pipeline."})
    forget_class: str = field(metadata={"help": "The class to forget, by id or by name."})
    classifier: str | None = field(
        default=None, metadata={"help": "Folder or Hub id of the judge; without one all rewinds are done."}
    )
    resize: bool = field(default=False, metadata={"help": "Bring images to the size that the UNet takes."})
    max_forget_ratio: float = field(
        default=1.0, metadata={"help": "Stop where so many percent of what is generated are of the class."}
    )
    num_images: int = field(default=500, metadata={"help": "Images to generate for a judgement."})
    num_inference_steps: int = field(default=50, metadata={"help": "DDIM steps of an image."})
    generation_batch_size: int = field(default=250, metadata={"help": "Images generated at once."})
    noise_seed: int = field(default=0, metadata={"help": "Of the noise to generate from; the same for all methods."})
    kid_subset_size: int = field(default=250, metadata={"help": "Images of a subset of KID."})
    kid_subsets: int = field(default=50, metadata={"help": "Subsets of KID."})


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
    Parts a data set by one class.

    Args:
        dataset (`datasets.Dataset`): Images and class ids.
        forget_class (`int` or `str`): By id, or by name where the column is a `ClassLabel`.
        image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.
        size (`int`, *optional*): Height and width to resize to.
        conditional (`bool`, defaults to `False`): Whether the UNet takes the class ids.

    Raises:
        ValueError: There is no such column or class, or nothing but the class.
    """
    of_class = integer_labels(dataset, label_column, "dataset") == _class(dataset, forget_class, label_column)
    if not of_class.any() or of_class.all():
        how_many = "all" if of_class.all() else "none"
        raise ValueError(f"`forget_class` {forget_class!r}: {how_many} of the images are of that class.")
    images = DiffusionImages.from_dataset(dataset, image_column, label_column if conditional else None, size)
    return ClassImages(*(images.select(torch.from_numpy(part).nonzero()[:, 0]) for part in (of_class, ~of_class)))


def make_judge(
    arguments: ForgetClassArguments, unet: Any, reference: DiffusionImages, forget_id: int, progress: bool = True
) -> ForgetRatioJudge | None:
    """
    The judge that the arguments ask for, with KID to real images of all other classes.

    Args:
        arguments ([`ForgetClassArguments`]): Names the classifier; without one there is no judge.
        unet (`nn.Module`): Says what shape its noise has.
        reference ([`DiffusionImages`]): Real images, none of the class.
        forget_id (`int`): The class.
        progress (`bool`, defaults to `True`): Whether to show a bar while generating.

    Raises:
        ValueError: The classifier does not know the class, or there are too few images for KID.
    """
    if arguments.classifier is None:
        return None
    classifier = ImageClassifier.from_pretrained(arguments.classifier)
    noise = fixed_noise(arguments.num_images, unet, arguments.noise_seed)
    conditions = None
    if classes := getattr(unet.config, "num_class_embeds", None):
        conditions = {"class_labels": torch.arange(len(noise)) % classes}
    distance = KernelDistance(
        reference.pixel_values, classifier, arguments.kid_subset_size, arguments.kid_subsets, arguments.noise_seed
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
    All that a run needs, checked before any work.

    Args:
        arguments ([`ForgetClassArguments`]): What to forget.
        dataset (`datasets.Dataset`): What is learned from are its images of the class.
        reference (`datasets.Dataset`, *optional*): Real images that KID compares with; those of the class are left
            out. `dataset` by default.
        image_column (`str`, defaults to `"image"`), label_column (`str`, defaults to `"label"`): The columns.
        progress (`bool`, defaults to `True`): Whether to show a bar while generating.

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
        forget_id = _class(dataset, arguments.forget_class, label_column)
        self.judge = make_judge(arguments, unet, retain, forget_id, progress)

    def generate(self, pipeline: Any) -> Generation | None:
        """What a pipeline generates, judged; `None` without a classifier."""
        if self.judge is None:
            return None
        return self.judge.generate(pipeline.unet, noise_scheduler(pipeline.scheduler))

    def run(self, method: str, args: UnlearningArguments, **own: Any) -> tuple[Unlearner, dict[str, Any]]:
        """
        Unlearns once, from the pipeline as it was saved.

        Args:
            method (`str`): One of [`diffusion_methods`].
            args ([`UnlearningArguments`]): How.
            own: What else the method's unlearner takes, such as `predictor`.

        Returns:
            The unlearner, and a `dict` with `original` and `unlearned` (metrics, with a classifier), `features` (what KID
            was measured in), `history`, `stopped`, `seconds` and the number of `forget_images`.

        Raises:
            ValueError: There is no such method, or an argument cannot work.
        """
        check_output_dir(args.output_dir)
        rules = [] if self.judge is None else [ForgetRatioTarget(self.arguments.max_forget_ratio)]
        unlearner = diffusion_unlearner(
            self.arguments.pipeline, args, self.forget, method=method, judge=self.judge, stopping_rules=rules, **own
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


def _class(dataset: Dataset, forget_class: int | str, label_column: str) -> int:
    """A class named by digits is its id, unless the names of the column say otherwise."""
    names = getattr(dataset.features[label_column], "names", ()) if label_column in dataset.features else ()
    if isinstance(forget_class, str) and forget_class.isdecimal() and forget_class not in names:
        forget_class = int(forget_class)
    return class_id(dataset, forget_class, label_column)


__all__ = ["ClassForgetting", "ClassImages", "ForgetClassArguments", "images_of_class", "make_judge"]
