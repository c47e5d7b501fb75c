"""Diffusion pipelines from whatever a user names them by, and back to a folder that `from_pretrained` loads."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from safetensors import SafetensorError, safe_open
from torch import nn

from .noise_prediction import PREDICTION_TYPES


INDEX = "model_index.json"
# The variant under which the Hub keeps the weights that training ended with, beside their moving average.
TRAINED = "non_ema"


class LoadedPipeline(NamedTuple):
    """
    `pipeline`, whose UNet generates; and `trained`, the UNet that training ended with, where that of the pipeline
    holds its moving average (`None` where it does not).
    """

    pipeline: Any
    trained: nn.Module | None


def load_pipeline(pipeline: Any) -> LoadedPipeline:
    """
    A pipeline that can be trained and can generate.

    Weights are read from safetensors, and no code from the Hub is run. Where `unet/` has a second file of the variant
    `non_ema`, as repositories on the Hub have, those are the trained weights and the first file their moving average.

    Args:
        pipeline (`DiffusionPipeline`, `str` or `os.PathLike`): One, or the folder or Hub id of one.

    Raises:
        TypeError: It is no pipeline.
        ValueError: It cannot be loaded, was saved half, or its scheduler cannot add noise.
    """
    if isinstance(pipeline, (str, os.PathLike)):
        source = os.fspath(pipeline)
        folder = Path(source)
        if folder.is_dir():
            check_complete(folder)
        elif source.startswith((".", "/", "~")) or source.count("/") > 1:
            raise ValueError(f"`pipeline`: there is no folder {source!r}; name one, or a Hub id.")
        loaded = _from_pretrained(source)
        trained = None
        if folder.is_dir():
            _check_every_weight(folder, loaded.unet)
            trained = _trained(loaded, folder)
    else:
        loaded, trained = pipeline, None
    if not isinstance(getattr(loaded, "unet", None), nn.Module) or getattr(loaded, "scheduler", None) is None:
        raise TypeError(
            f"`pipeline` must be a diffusion pipeline with a `unet` and a `scheduler`, got {type(loaded).__name__}."
        )
    noise_scheduler(loaded.scheduler)
    return LoadedPipeline(loaded, trained)


def noise_scheduler(scheduler: Any) -> Any:
    """
    The scheduler of training: DDPM with the noise schedule and the prediction type of the given one.

    Args:
        scheduler (`SchedulerMixin`): That of a pipeline.

    Raises:
        ValueError: It cannot add noise as DDPM does, or predicts something unknown.
    """
    name = type(scheduler).__name__
    if not hasattr(scheduler, "add_noise") or not isinstance(getattr(scheduler, "alphas_cumprod", None), torch.Tensor):
        raise ValueError(
            f"`pipeline`: its scheduler {name} cannot add noise to images in training (no `add_noise` with "
            "`alphas_cumprod`); give it a DDPMScheduler or DDIMScheduler of the same noise schedule."
        )
    training = DDPMScheduler.from_config(scheduler.config)
    if training.config.prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"`pipeline`: its scheduler {name} has the prediction type {training.config.prediction_type!r}; known are "
            f"{', '.join(PREDICTION_TYPES)}."
        )
    return training


def save_pipeline(pipeline: Any, folder: str | os.PathLike, trained: Any = None) -> None:
    """
    Saves a pipeline, and the trained weights where its UNet holds their moving average.

    Args:
        pipeline (`DiffusionPipeline`): What to save. LoRA layers are merged into the weights that are saved.
        folder (`str` or `os.PathLike`): Where to.
        trained (`nn.Module`, *optional*): Saved as the variant `non_ema` of the UNet.
    """
    unet = pipeline.unet
    merged = merged_unet(unet)
    try:
        if merged is not unet:
            pipeline.register_modules(unet=merged)
        pipeline.save_pretrained(folder, safe_serialization=True)
    finally:
        pipeline.register_modules(unet=unet)
    if trained is not None:
        trained.save_pretrained(Path(folder) / "unet", variant=TRAINED, safe_serialization=True)


def merged_unet(unet: nn.Module) -> nn.Module:
    """The UNet itself; or, where PEFT has put LoRA layers into it, a plain copy with them merged."""
    if hasattr(unet, "merge_and_unload"):  # wrapped by `get_peft_model`
        wrapped: Any = copy.deepcopy(unet)
        return wrapped.merge_and_unload()
    if getattr(unet, "peft_config", None):  # put in by `add_adapter`
        plain: Any = copy.deepcopy(unet)
        plain.fuse_lora()
        plain.unload_lora()
        return plain
    return unet


def check_complete(folder: Path) -> None:
    """
    Looks whether every component that a saved pipeline lists is there.

    Raises:
        ValueError: A file is missing, is no JSON, or is truncated; the message names it.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise _half(folder, f"{INDEX} is missing or damaged") from error
    for name, listed in index.items():
        if name.startswith("_") or not isinstance(listed, list) or listed[0] is None:
            continue
        part = folder / name
        if not part.is_dir() or not any(part.glob("*.json")):
            raise _half(folder, f"{name}/ is missing or has no configuration")
        for weights in part.glob("*.safetensors"):
            try:
                with safe_open(weights, framework="pt") as opened:
                    opened.keys()
            except SafetensorError as error:
                raise _half(folder, f"{name}/{weights.name} is damaged ({error})") from error
    if not _unet_files(folder):
        raise _half(folder, "unet/ has no weights in safetensors (pickled ones are not read)")


def _check_every_weight(folder: Path, unet: nn.Module) -> None:
    """What a file lacks, `from_pretrained` would fill up at random."""
    found: set[str] = set()
    for path in _unet_files(folder):
        with safe_open(path, framework="pt") as opened:
            found |= set(opened.keys())
    if missing := sorted(unet.state_dict().keys() - found):
        raise _half(folder, f"unet/ lacks {', '.join(missing[:3])}")


def _unet_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "unet").glob("*.safetensors") if f".{TRAINED}" not in path.name]


def _half(folder: Path, what: str) -> ValueError:
    return ValueError(f"`pipeline`: {str(folder)!r} is no whole pipeline, {what}; save it again.")


def _from_pretrained(source: str) -> Any:
    index = Path(source) / INDEX
    listed = json.loads(index.read_text()) if index.is_file() else {}
    # Saved without, such as a text encoder that has done its work: `from_pretrained` wants to be told.
    absent = {name: None for name, kind in listed.items() if isinstance(kind, list) and kind[0] is None}
    try:
        return DiffusionPipeline.from_pretrained(source, use_safetensors=True, **absent)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"`pipeline` cannot be loaded from the folder or Hub id {source!r}: {error}") from error


def _trained(pipeline: Any, folder: Path) -> nn.Module | None:
    if not any((folder / "unet").glob(f"*.{TRAINED}*.safetensors")):
        return None
    trained: nn.Module = type(pipeline.unet).from_pretrained(
        folder, subfolder="unet", variant=TRAINED, use_safetensors=True
    )
    return trained


__all__ = ["LoadedPipeline", "load_pipeline", "merged_unet", "noise_scheduler", "save_pipeline"]
