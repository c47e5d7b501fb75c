"""The starting point and the oracle of a comparison: trained once, kept under the hash of what made them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments, set_seed

from ..image_classification import (
    CropAndFlip,
    DataArguments,
    ModelArguments,
    ScenarioArguments,
    make_model,
    make_splits,
    number_of_classes,
)
from ..processed_images import process_images
from ..report import write_results
from ..scenarios import CLEAN_LABEL_COLUMN, UnlearningSplits, triggered
from .memory import peak_memory
from .settings import ComparisonSettings


logger = logging.getLogger(__name__)

MADE_FROM = "made_from.json"
DONE = "training.json"


@dataclass(frozen=True)
class Start:
    """
    Where every method begins with one seed.

    Args:
        folder (`Path`): Holds `splits`, `pretrained` and, where something is retained, `retrained`.
        splits ([`UnlearningSplits`]): Who is forgotten.
    """

    folder: Path
    splits: UnlearningSplits

    @property
    def has_oracle(self) -> bool:
        return len(self.splits.retain) > 0

    def missing(self) -> list[str]:
        """The models that are still to be trained."""
        names = ["pretrained", "retrained"] if self.has_oracle else ["pretrained"]
        return [name for name in names if not (self.folder / name / DONE).exists()]

    def model(self, name: str = "pretrained") -> Any:
        """`"pretrained"` or `"retrained"`, loaded anew, in the layout in which convolutions are fastest."""
        model = AutoModelForImageClassification.from_pretrained(self.folder / name, use_safetensors=True)
        return model.to(memory_format=torch.channels_last)

    def processor(self) -> Any:
        return AutoImageProcessor.from_pretrained(self.folder / "pretrained", backend="pil")

    def training(self, name: str) -> dict[str, float]:
        """Steps, seconds and bytes of memory that a model took."""
        return json.loads((self.folder / name / DONE).read_text())

    def tensors(self, names: tuple[str, ...] | None = None, image_column: str = "image") -> dict[str, Any]:
        """
        The evaluation sets, by name: forget, retain, validation, test; where labels were wrong, `forget_clean`, D_f
        under its true labels; where there is a backdoor, `triggered`.
        """
        sets: dict[str, Any] = {
            name: getattr(self.splits, name) for name in ("forget", "retain", "validation", "test")
        }
        labels = dict.fromkeys(sets, self.splits.label_column)
        if CLEAN_LABEL_COLUMN in self.splits.forget.column_names:
            sets["forget_clean"], labels["forget_clean"] = self.splits.forget, CLEAN_LABEL_COLUMN
        if self.splits.scenario == "badnets":
            sets["triggered"], labels["triggered"] = triggered(self.splits), self.splits.label_column
        processor = self.processor()
        return {
            name: process_images(dataset, processor, image_column, labels[name])
            for name, dataset in sets.items()
            if len(dataset) and (names is None or name in names)
        }


def prepare_start(settings: ComparisonSettings, seed: int, only: str | None = None) -> Start:
    """
    Trains the starting point and the oracle of a seed, or finds them.

    Args:
        settings ([`ComparisonSettings`]): What is compared.
        seed (`int`): Of the split, the initialisation and the order of the batches.
        only (`str`, *optional*): Train `"pretrained"` or `"retrained"` alone; `""` for the splits and no model.

    Raises:
        ValueError: The folder of that name was made from something else.
    """
    folder = Path(settings.output_dir) / "starts" / settings.start_hash(seed)
    made_from = {"seed": seed} | {
        name: dict(getattr(settings, name)) for name in ("data", "model", "scenario", "training")
    }
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / MADE_FROM
    if record.exists() and json.loads(record.read_text()) != made_from:
        raise ValueError(
            f"`output_dir`: {folder} was made from other settings ({record}); remove it, or take another."
        )
    if not record.exists():
        write_results(made_from, record)
    data = DataArguments(**settings.data)
    if not (folder / "splits").exists():
        make_splits(data, ScenarioArguments(**settings.scenario), seed).save_to_disk(folder / "splits")
    splits = UnlearningSplits.load_from_disk(folder / "splits")
    for name, part in (("pretrained", splits.train), ("retrained", splits.retain)):
        if only in (None, name) and len(part) and not (folder / name / DONE).exists():
            logger.info("training %s of seed %d on %d examples", name, seed, len(part))
            _train(settings, seed, part, splits, data.image_column, folder / name)
    return Start(folder, splits)


def _train(
    settings: ComparisonSettings, seed: int, part: Any, splits: UnlearningSplits, image_column: str, target: Path
) -> None:
    set_seed(seed)
    classes = number_of_classes(splits.train, splits.label_column)
    model: Any
    processor, model = make_model(ModelArguments(**settings.model), classes)
    model.to(memory_format=torch.channels_last)  # half the time of a step of a small ResNet on a CPU
    working = target.with_name(target.name + ".part")
    defaults = {
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    args = TrainingArguments(**{**defaults, **settings.training, "output_dir": str(working), "seed": seed})
    examples = process_images(part, processor, image_column, splits.label_column)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=CropAndFlip(examples) if settings.data.get("augmentation") else examples,
    )
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
    (working / DONE).write_text(json.dumps(cost) + "\n")
    os.replace(working, target)


__all__ = ["Start", "prepare_start"]
