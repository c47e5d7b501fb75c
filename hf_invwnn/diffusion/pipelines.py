"""Loads diffusion pipelines from a folder or the Hub, and saves them in the format of `from_pretrained`."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from safetensors import SafetensorError, safe_open
from torch import nn

from ..files import read_json_object
from .noise_prediction import PREDICTION_TYPES


INDEX = "model_index.json"
# Variant of the UNet with the weights that training ended with; the default variant is their moving average.
TRAINED = "non_ema"


class LoadedPipeline(NamedTuple):
    """
    A `pipeline`, and `trained`, a UNet with the weights that training ended with, if the UNet of the pipeline holds
    their moving average (`None` if it does not).
    """

    pipeline: Any
    trained: nn.Module | None


def load_pipeline(pipeline: Any) -> LoadedPipeline:
    """
    Loads a pipeline whose UNet can be trained.

    Weights are read from safetensors only, and no code from the Hub is run. If `unet/` has a second file of the
    variant `non_ema`, as some repositories on the Hub do, that file holds the trained weights, and the first their
    moving average.

    Args:
        pipeline (`DiffusionPipeline`, `str` or `os.PathLike`): A pipeline, or the folder or Hub id of one.

    Raises:
        TypeError: `pipeline` is not a pipeline with a UNet and a scheduler.
        ValueError: The pipeline cannot be loaded, is incomplete, or has a scheduler that cannot add noise.
    """
    if isinstance(pipeline, (str, os.PathLike)):
        source = os.fspath(pipeline)
        folder = Path(source)
        if folder.is_dir():
            check_complete(folder)
        elif source.startswith((".", "/", "~")) or source.count("/") > 1:
            raise ValueError(f"`pipeline`: there is no folder {source!r}; pass a folder or a Hub id.")
        loaded = _from_pretrained(source)
        trained = None
        if folder.is_dir():
            _check_all_weights(folder, loaded.unet)
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
    The scheduler for training: DDPM with the noise schedule and the prediction type of another scheduler.

    Args:
        scheduler (`SchedulerMixin`): The scheduler of a pipeline.

    Raises:
        ValueError: The scheduler cannot add noise as DDPM does, learns the variance, or has an unknown prediction
            type.
    """
    name = type(scheduler).__name__
    if not hasattr(scheduler, "add_noise") or not isinstance(getattr(scheduler, "alphas_cumprod", None), torch.Tensor):
        raise ValueError(
            f"`pipeline`: its scheduler {name} cannot add noise to images in training (no `add_noise` with "
            "`alphas_cumprod`); replace it by a DDPMScheduler or DDIMScheduler with the same noise schedule."
        )
    variance = str(getattr(scheduler.config, "variance_type", None))
    if variance.startswith("learned"):
        raise ValueError(
            f"`pipeline`: its scheduler {name} has the variance type {variance!r}. The UNet then predicts the "
            "variance in half of its channels, which have another loss; use a pipeline with a fixed variance."
        )
    training = DDPMScheduler.from_config(scheduler.config)
    if training.config.prediction_type not in PREDICTION_TYPES:
        raise ValueError(
            f"`pipeline`: its scheduler {name} has the prediction type {training.config.prediction_type!r}; supported "
            f"are {', '.join(PREDICTION_TYPES)}."
        )
    return training


def save_pipeline(pipeline: Any, folder: str | os.PathLike, trained: Any = None) -> None:
    """
    Saves a pipeline, and the trained weights if its UNet holds their moving average.

    Args:
        pipeline (`DiffusionPipeline`): The pipeline. LoRA layers are merged into the saved weights.
        folder (`str` or `os.PathLike`): The folder to save to.
        trained (`nn.Module`, *optional*): A UNet with the trained weights; saved as the variant `non_ema`.
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
    """A copy of a UNet with its LoRA layers merged; the UNet itself if it has none."""
    if hasattr(unet, "merge_and_unload"):  # wrapped by `get_peft_model`
        wrapped: Any = copy.deepcopy(unet)
        return wrapped.merge_and_unload()
    if getattr(unet, "peft_config", None):  # added by `add_adapter`
        plain: Any = copy.deepcopy(unet)
        plain.fuse_lora()
        plain.unload_lora()
        return plain
    return unet


def check_complete(folder: Path) -> None:
    """
    Checks that a saved pipeline has all components that its index lists.

    Raises:
        ValueError: A file is missing, is not JSON, or is truncated; the message names it.
    """
    try:
        index = read_json_object(folder / INDEX)
    except (FileNotFoundError, ValueError) as error:
        raise _incomplete(folder, f"{INDEX} is missing or damaged") from error
    for name, listed in index.items():
        if name.startswith("_") or not isinstance(listed, list) or listed[:1] == [None]:
            continue
        component = folder / name
        if not component.is_dir() or not any(component.glob("*.json")):
            raise _incomplete(folder, f"{name}/ is missing or has no configuration")
        for weights in component.glob("*.safetensors"):
            try:
                with safe_open(weights, framework="pt") as opened:
                    opened.keys()
            except SafetensorError as error:
                raise _incomplete(folder, f"{name}/{weights.name} is damaged ({error})") from error
    if not _unet_files(folder):
        raise _incomplete(folder, "unet/ has no weights in safetensors (pickled ones are not read)")


def _check_all_weights(folder: Path, unet: nn.Module) -> None:
    """Raises if a tensor of the UNet is in no file; `from_pretrained` would initialise it at random."""
    saved: set[str] = set()
    for path in _unet_files(folder):
        with safe_open(path, framework="pt") as opened:
            saved |= set(opened.keys())
    if missing := sorted(unet.state_dict().keys() - saved):
        raise _incomplete(folder, f"unet/ lacks {', '.join(missing[:3])}")


def _unet_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "unet").glob("*.safetensors") if f".{TRAINED}" not in path.name]


def _incomplete(folder: Path, problem: str) -> ValueError:
    return ValueError(f"`pipeline`: {str(folder)!r} is not a complete pipeline: {problem}; save it again.")


def _from_pretrained(source: str) -> Any:
    index = Path(source) / INDEX
    listed = read_json_object(index) if index.is_file() else {}
    # Components that the pipeline was saved without, such as a text encoder; `from_pretrained` needs them as `None`.
    absent = {name: None for name, kind in listed.items() if isinstance(kind, list) and kind[:1] == [None]}
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
