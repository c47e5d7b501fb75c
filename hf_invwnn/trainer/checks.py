"""Checks of the arguments of an unlearner, made before any work; every error names the argument."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence, Sized
from typing import Any

from accelerate import Accelerator
from torch import nn

from .arguments import UnlearningArguments
from .labels import check_labels
from .stopping import StoppingRule, splits_of


def check_model(model: Any) -> None:
    """
    Raises:
        TypeError: The model is not a module.
    """
    if not isinstance(model, nn.Module):
        kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise TypeError(
            f"`model` must be a model (`nn.Module`), got {kind}; load it first, for instance with "
            "`AutoModelForImageClassification.from_pretrained`."
        )


def evaluation_sets(forget_dataset: Any, eval_dataset: Any, forget_eval_dataset: Any) -> dict[str, Any]:
    """
    The evaluation sets by name: `"forget"`, then those of `eval_dataset`; a single data set is called `"unseen"`. A
    forget set without a length is left out.

    Raises:
        ValueError: `eval_dataset` has a set called `"forget"`, or a set is empty.
    """
    sets = dict(eval_dataset) if isinstance(eval_dataset, Mapping) else {}
    if eval_dataset is not None and not isinstance(eval_dataset, Mapping):
        sets["unseen"] = eval_dataset
    if "forget" in sets:
        raise ValueError("`eval_dataset` may not have a set called 'forget'; pass it as `forget_eval_dataset`.")
    forget = forget_dataset if forget_eval_dataset is None else forget_eval_dataset
    sets = {"forget": forget, **sets} if isinstance(forget, Sized) else sets
    for name, dataset in sets.items():
        if isinstance(dataset, Sized) and len(dataset) == 0 and dataset is not forget_dataset:
            raise ValueError(f"`{_argument(name)}` is empty; leave it out, or pass examples.")
    return sets


def check_datasets(
    model: nn.Module,
    args: UnlearningArguments,
    forget_dataset: Any,
    train_dataset: Any,
    sets: Mapping[str, Any],
) -> None:
    """
    Checks the forget set, the data set of the steps, and the labels of all data sets.

    Raises:
        ValueError: The forget set cannot be used, `train_dataset` is empty, or a label is not a class of the model.
    """
    if isinstance(train_dataset, Sized) and len(train_dataset) == 0:
        raise ValueError("`train_dataset` is empty; leave it out to take the steps on `forget_dataset`.")
    batch = args.per_device_train_batch_size * args.world_size if args.dataloader_drop_last else 1
    check_forget_set(forget_dataset, args.snapshot_strategy, least=batch)
    check_labels("forget_dataset", forget_dataset, model)
    for name, dataset in sets.items():
        if dataset is not forget_dataset:
            check_labels(_argument(name), dataset, model)


def arguments_of(sets: Mapping[str, Any], forget_dataset: Any, train_dataset: Any = None) -> dict[str, Any]:
    """The data sets in addition to D_f by the argument that each was passed as."""
    others = {_argument(name): dataset for name, dataset in sets.items() if dataset is not forget_dataset}
    return others if train_dataset is None else {**others, "train_dataset": train_dataset}


def _argument(name: str) -> str:
    """The argument that an evaluation set was passed as."""
    return "forget_eval_dataset" if name == "forget" else f"eval_dataset[{name!r}]"


def check_forget_set(forget_dataset: Any, snapshot_strategy: str, least: int = 1) -> None:
    """
    Raises:
        ValueError: The forget set is empty, has no length although an interval is an epoch, or has fewer than `least`
            examples, a batch if incomplete batches are dropped.
    """
    if forget_dataset is None:
        raise ValueError("`forget_dataset` is None; pass the examples to forget.")
    if isinstance(forget_dataset, (str, bytes, Mapping)) or not (
        hasattr(forget_dataset, "__getitem__") or hasattr(forget_dataset, "__iter__")
    ):
        raise TypeError(
            f"`forget_dataset` must be a data set, got {type(forget_dataset).__name__}; load the examples, for "
            "instance with `datasets.load_dataset`."
        )
    if not isinstance(forget_dataset, Sized):
        if snapshot_strategy == "epoch":
            raise ValueError(
                "`forget_dataset` has no length, so an epoch has no end; use `snapshot_strategy='steps'` with "
                "`snapshot_steps`, or a sized dataset."
            )
        return
    if len(forget_dataset) == 0:
        raise ValueError("`forget_dataset` is empty; there is nothing to forget.")
    if len(forget_dataset) < least:
        raise ValueError(
            f"`forget_dataset` has {len(forget_dataset)} examples, less than a batch of {least}, and "
            "`dataloader_drop_last` drops them all; turn that off, or set a smaller `per_device_train_batch_size`."
        )


def check_rules(rules: Sequence[StoppingRule], evaluation_sets: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: A rule needs an evaluation set that was not passed.
    """
    for rule in rules:
        for split in splits_of(rule):
            if split not in evaluation_sets and split == "forget":
                raise ValueError(f"{rule} needs to evaluate the forget set; pass a sized `forget_eval_dataset`.")
            if split not in evaluation_sets:
                raise ValueError(
                    f"`eval_dataset` has no set called {split!r}, which {rule} needs; there are "
                    f"{sorted(evaluation_sets)}. A single dataset is called 'unseen'."
                )


def check_distribution(
    accelerator: Accelerator, method: str, needs_whole_weights: bool, auto_find_batch_size: bool = False
) -> None:
    """
    Raises:
        ValueError: The weights are distributed in a way that trajectories, or `method`, do not support.
    """
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    if fsdp is not None and fsdp.fsdp_version != 2:
        raise ValueError(
            "`fsdp_version` is 1, which hides the parameters in flat ones; set `fsdp_version: 2` in the configuration "
            "of accelerate."
        )
    if fsdp is not None and auto_find_batch_size:
        raise ValueError(
            "`auto_find_batch_size` must stay False under FSDP: after an out-of-memory error the start of the run "
            "could not be restored."
        )
    saved_as = str(getattr(fsdp, "state_dict_type", ""))
    if fsdp is not None and "FULL_STATE_DICT" not in saved_as:
        raise ValueError(
            f"`fsdp_state_dict_type` is {saved_as.rpartition('.')[2] or None}, with which `save_model` would save no "
            "weights; set `fsdp_state_dict_type: FULL_STATE_DICT` in the configuration of accelerate."
        )
    deepspeed = getattr(accelerator.state, "deepspeed_plugin", None)
    if deepspeed is not None and deepspeed.zero_stage == 3:
        raise ValueError("`zero_stage` is 3, under which no process has weights to record; use 2, or FSDP2.")
    if deepspeed is not None and _halves_weights(deepspeed.deepspeed_config, accelerator.mixed_precision):
        raise ValueError(
            "`mixed_precision` is DeepSpeed's own, which rounds the model's weights, and with them what is recorded; "
            "leave `bf16` and `fp16` out and set `torch_autocast` in DeepSpeed's configuration, as "
            "recipes/accelerate_configs/zero2.json does."
        )
    if fsdp is not None and needs_whole_weights:
        raise ValueError(f"{method} ranks or widens whole tensors and cannot work on shards; use DDP instead of FSDP.")


def _halves_weights(deepspeed_config: Mapping[str, Any], mixed_precision: str) -> bool:
    enabled = (deepspeed_config.get(name, {}).get("enabled") for name in ("bf16", "fp16"))
    return mixed_precision in ("bf16", "fp16") or any(value is True for value in enabled)


def check_retain(method: str, needs_retain: bool, retain_dataset: Any) -> None:
    """
    Raises:
        ValueError: The method needs D_r and was passed none, or does not use it and was passed one.
    """
    if needs_retain and retain_dataset is not None and not isinstance(retain_dataset, Sized):
        raise ValueError(
            f"`retain_dataset` has no length, and {method} pairs or repeats its examples; pass a sized data set."
        )
    if needs_retain and (retain_dataset is None or len(retain_dataset) == 0):
        raise ValueError(
            f"`retain_dataset` is {'None' if retain_dataset is None else 'empty'}, and {method} trains on retained "
            "examples; pass them, or use a forget-only method."
        )
    if not needs_retain and retain_dataset is not None:
        raise ValueError(f"`retain_dataset` must be left out: {method} is forget-only.")


def check_output_dir(output_dir: str | os.PathLike | None) -> None:
    """
    Raises:
        ValueError: The folder cannot be created or written to.
    """
    if output_dir is not None and not os.fspath(output_dir):
        raise ValueError("`output_dir` is empty; name a folder.")
    path = os.path.abspath(os.fspath(output_dir or "."))
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return
    except OSError as error:
        raise ValueError(f"`output_dir` cannot be written to, got `{output_dir}` ({error.strerror}).") from error


__all__ = [
    "arguments_of",
    "check_datasets",
    "check_distribution",
    "check_forget_set",
    "check_model",
    "check_output_dir",
    "check_retain",
    "check_rules",
    "evaluation_sets",
]
