"""Starting points of a comparison: the original and the retrained model of a seed, saved under a hash of settings."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, Trainer, TrainingArguments, set_seed

from ..files import read_json_object, write_json
from ..image_classification import (
    CropAndFlip,
    DataArguments,
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
    """

    folder: Path
    splits: UnlearningSplits
    image_column: str = "image"

    @property
    def has_retrained(self) -> bool:
        return len(self.splits.retain) > 0

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
        sets: dict[str, Any] = {
            name: getattr(self.splits, name) for name in ("forget", "retain", "validation", "test")
        }
        labels = dict.fromkeys(sets, self.splits.label_column)
        if CLEAN_LABEL_COLUMN in self.splits.forget.column_names:
            sets["forget_clean"], labels["forget_clean"] = self.splits.forget, CLEAN_LABEL_COLUMN
        if self.splits.scenario == "badnets":
            sets["triggered"], labels["triggered"] = triggered_test_set(self.splits), self.splits.label_column
        processor = self.processor()
        return {
            name: process_images(dataset, processor, self.image_column, labels[name])
            for name, dataset in sets.items()
            if len(dataset) and (names is None or name in names)
        }


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
    return StartingPoint(folder, splits, data.image_column)


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
    cost = {"steps": trainer.state.global_step, "seconds": seconds, "memory": memory.get("bytes")}
    write_json(cost, working / DONE)
    os.replace(working, target)


__all__ = ["StartingPoint", "prepare_start"]
