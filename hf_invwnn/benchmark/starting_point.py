"""Starting points of a comparison: the original and the retrained model of a seed, saved under a hash of settings."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, Trainer, TrainingArguments, set_seed

from ..files import read_json_object, write_json
from ..image_classification import (
    CropAndFlip,
    DataArguments,
    ImageTensors,
    ModelArguments,
    ScenarioArguments,
    load_classifier,
    make_model,
    make_splits,
    number_of_classes,
    process_images,
)
from ..scenarios import CLEAN_LABEL_COLUMN, UnlearningSplits, triggered_test_set
from ..trainer.quiet import QUIET, without_printing
from .memory import peak_memory
from .settings import ComparisonSettings


logger = logging.getLogger(__name__)

MADE_FROM = "made_from.json"
DONE = "training.json"


@dataclass(frozen=True)
class StartingPoint:
    """
    The models and splits that every method starts from, for one seed.

    Args:
        folder (`Path`): Holds `splits`, `original` and, if something is retained, `retrained`.
        splits ([`UnlearningSplits`]): The splits.
        image_column (`str`, defaults to `"image"`): Column of the images.
        seed (`int`, defaults to 0): Its seed.
    """

    folder: Path
    splits: UnlearningSplits
    image_column: str = "image"
    seed: int = 0

    @property
    def has_retrained(self) -> bool:
        return len(self.splits.retain) > 0

    @property
    def choosing_split(self) -> str:
        """The set that settings and points are chosen with."""
        return "validation" if len(self.splits.validation) else "test"

    def with_forget_set(self, number: int) -> StartingPoint:
        """The same model with another random forget set of the same size; 0 is the one that was left out of D_r."""
        if number == 0:
            return self
        splits, generator = self.splits, np.random.default_rng([self.seed, number])
        rows = generator.choice(len(splits.train), len(splits.forget_indices), replace=False)
        other = UnlearningSplits.from_indices(
            splits.train,
            rows,
            validation=splits.validation,
            test=splits.test,
            scenario=splits.scenario,
            label_column=splits.label_column,
            settings=splits.settings,
        )
        return replace(self, splits=other)

    def missing(self) -> list[str]:
        """Names of the models that have not been trained yet."""
        names = ["original", "retrained"] if self.has_retrained else ["original"]
        return [name for name in names if not (self.folder / name / DONE).exists()]

    def model(self, name: str = "original") -> Any:
        """`"original"` or `"retrained"`, newly loaded, in the memory format in which convolutions are fastest."""
        model, _ = load_classifier(self.folder / name)
        return model.to(memory_format=torch.channels_last)

    def processor(self) -> Any:
        return AutoImageProcessor.from_pretrained(self.folder / "original", backend="pil")

    def training(self, name: str) -> dict[str, float]:
        """Steps, seconds and bytes of memory of the training of a model."""
        return read_json_object(self.folder / name / DONE)

    def datasets(self, names: tuple[str, ...] | None = None) -> dict[str, Any]:
        """
        The splits as inputs of the model: forget, retain, validation, test; with wrong labels also `forget_clean`, D_f
        under its true labels; with a backdoor also `triggered`.
        """
        splits, processor = self.splits, self.processor()
        forgotten = np.asarray(splits.forget_indices)
        retained = np.setdiff1d(np.arange(len(splits.train)), forgotten)
        makers = {
            "forget": lambda: _rows(self._images("train", processor), forgotten),
            "retain": lambda: _rows(self._images("train", processor), retained),
            "validation": lambda: self._images("validation", processor),
            "test": lambda: self._images("test", processor),
        }
        sizes = {name: len(getattr(splits, name)) for name in makers}
        if CLEAN_LABEL_COLUMN in splits.forget.column_names:
            makers["forget_clean"] = lambda: self._process(splits.forget, processor, CLEAN_LABEL_COLUMN)
            sizes["forget_clean"] = len(splits.forget)
        if splits.scenario == "badnets":
            triggered = triggered_test_set(splits)
            makers["triggered"] = lambda: self._process(triggered, processor, splits.label_column)
            sizes["triggered"] = len(triggered)
        return {name: make() for name, make in makers.items() if sizes[name] and (names is None or name in names)}

    def _images(self, name: str, processor: Any) -> Any:
        """A set as inputs of the model, kept in a file that all processes of a comparison map into memory."""
        path = self.folder / "images" / f"{name}.safetensors"
        if not path.exists():
            images = self._process(getattr(self.splits, name), processor, self.splits.label_column)
            if not isinstance(images, ImageTensors):
                return images
            path.parent.mkdir(exist_ok=True)
            working = path.with_suffix(f".{os.getpid()}")
            save_file({"pixel_values": images.pixel_values, "labels": images.labels}, working)
            os.replace(working, path)
        return ImageTensors(**load_file(path))

    def _process(self, dataset: Any, processor: Any, label_column: str) -> Any:
        return process_images(dataset, processor, self.image_column, label_column)


def on_accelerator(model: Any) -> Any:
    """A model on the accelerator, if there is one."""
    return model.to("cuda") if torch.cuda.is_available() else model


def _rows(images: Any, rows: np.ndarray) -> Any:
    """Some rows of a set, without a copy of what is mapped from a file."""
    return torch.utils.data.Subset(images, rows.tolist())


def prepare_start(settings: ComparisonSettings, seed: int, only: str | None = None) -> StartingPoint:
    """
    Trains the original and the retrained model of a seed, unless they are saved already.

    Args:
        settings ([`ComparisonSettings`]): The comparison.
        seed (`int`): Seed of the split, the initialisation and the order of the batches.
        only (`str`, *optional*): Train `"original"` or `"retrained"` alone; `""` makes the splits only.

    Raises:
        ValueError: The folder of that name was made with other settings.
    """
    folder = Path(settings.output_dir) / "starts" / settings.start_hash(seed)
    made_from = {"seed": seed} | {
        name: dict(getattr(settings, name)) for name in ("data", "model", "scenario", "training")
    }
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / MADE_FROM
    if record.exists() and read_json_object(record) != made_from:
        raise ValueError(
            f"`output_dir`: {folder} was made from other settings ({record}); remove it, or name another folder."
        )
    if not record.exists():
        write_json(made_from, record)
    data = DataArguments(**settings.data)
    if not (folder / "splits").exists():
        make_splits(data, ScenarioArguments(**settings.scenario), seed).save_to_disk(folder / "splits")
    splits = UnlearningSplits.load_from_disk(folder / "splits")
    for name, part in (("original", splits.train), ("retrained", splits.retain)):
        if only in (None, name) and len(part) and not (folder / name / DONE).exists():
            logger.info("training %s of seed %d on %d examples", name, seed, len(part))
            _train(settings, seed, part, splits, data.image_column, folder / name)
    return StartingPoint(folder, splits, data.image_column, seed)


def _train(
    settings: ComparisonSettings, seed: int, part: Any, splits: UnlearningSplits, image_column: str, target: Path
) -> None:
    set_seed(seed)
    classes = number_of_classes(splits.train, splits.label_column)
    model: Any
    processor, model = make_model(ModelArguments(**settings.model), classes)
    model.to(memory_format=torch.channels_last)  # halves the time of a step of a small ResNet on a CPU
    working = target.with_name(target.name + ".part")
    defaults = {**QUIET, "dataloader_pin_memory": torch.cuda.is_available()}
    args = TrainingArguments(**{**defaults, **settings.training, "output_dir": str(working), "seed": seed})
    examples = process_images(part, processor, image_column, splits.label_column)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=CropAndFlip(examples) if settings.data.get("augmentation") else examples,
    )
    without_printing(trainer)
    with peak_memory() as memory:
        began = time.perf_counter()
        trainer.train(resume_from_checkpoint=any(working.glob("checkpoint-*")) or None)
        seconds = time.perf_counter() - began
    for checkpoint in working.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    model.to(memory_format=torch.contiguous_format)
    trainer.save_model()
    processor.save_pretrained(working)
    steps = trainer.state.global_step
    images = round(float(trainer.state.epoch or 0) * len(part))
    cost = {"steps": steps, "seconds": seconds, "memory": memory.get("bytes"), "forward": images, "backward": images}
    write_json(cost, working / DONE)
    os.replace(working, target)


__all__ = ["StartingPoint", "on_accelerator", "prepare_start"]
