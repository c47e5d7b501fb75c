"""The identity of a run: everything that determines its weights. A run is resumed only by the same run."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from torch.distributed.tensor import DTensor
from transformers import TrainerState

from .fingerprint import dataset_hash, sample_hash, tensors_hash


if TYPE_CHECKING:
    from .unlearner import Unlearner


# Arguments that may change when a run is resumed; changes are recorded.
FREE_ARGUMENTS = (
    *("num_rewinds", "target_ua", "ua_tolerance", "stop_at_unseen_loss", "min_utility", "utility_metric"),
    *("max_unseen_loss_rise", "max_unseen_accuracy_drop", "max_forget_steps", "max_seconds"),
    *("per_device_eval_batch_size", "trajectory_storage"),
)
# Prefixes of arguments that do not change a weight: where files go, what is logged, saved and uploaded, and what
# follows from other arguments.
_NEUTRAL = (
    *("output_dir", "trajectory_folder", "save_", "enable_jit_checkpoint", "resume_from_checkpoint", "do_"),
    *("logging_", "log_", "disable_tqdm", "report_to", "run_name", "project", "trackio_", "debug", "skip_memory"),
    *("push_to_hub", "hub_", "load_best", "metric_for_best", "greater_is_better", "restore_callback_states"),
    *("prediction_loss_only", "include_for_metrics", "include_num_input", "batch_eval_metrics"),
    *("eval_do_concat", "eval_use_gather", "eval_accumulation", "dataloader_pin_memory", "dataloader_prefetch"),
    *("local_rank", "ddp_timeout", "torch_empty_cache_steps", "num_train_epochs", "max_steps"),
)
# Entries of a model's configuration that say where it was loaded from, and by which version.
_NOT_SETTINGS = ("_name_or_path", "transformers_version", "architectures", "torch_dtype", "dtype")


def identity_of(unlearner: Unlearner, start: str) -> dict[str, Any]:
    """
    What must be the same in all parts of a run that is resumed, as JSON types.

    The forget set is hashed whole. Of other data sets the length and 64 rows are hashed, because they may be too large
    to read.

    Args:
        unlearner ([`Unlearner`]): The run.
        start (`str`): Hash of all weights of the model before the run, see [`start_hash`].
    """
    model = unlearner.accelerator.unwrap_model(unlearner.model)
    sets = unlearner.eval_dataset if isinstance(unlearner.eval_dataset, Mapping) else {}
    others = {f"evaluation set {name!r}": data for name, data in sets.items() if data is not unlearner.forget_dataset}
    if unlearner.train_dataset is not unlearner.forget_dataset:
        others["train_dataset"] = unlearner.train_dataset
    facts = {
        "method": f"{type(unlearner).__module__}.{type(unlearner).__qualname__}",
        "starting weights": start,
        # `fully_shard` puts its name before those of the classes.
        "model": _hash([repr(model).replace("FSDP", ""), _settings_of(getattr(model, "config", None))]),
        "forget set": dataset_hash(unlearner.forget_dataset),
        "data_collator": _describe(unlearner.data_collator),
        "compute_loss_func": _describe(unlearner.compute_loss_func),
        "optimizer": _optimizer(unlearner),
        "surrogates": _describe(unlearner.recovery.surrogates),
        **{name: sample_hash(data) for name, data in others.items()},
        **method_settings(unlearner),
        **fixed_arguments(unlearner),
    }
    return json.loads(json.dumps(facts, default=str))


def fixed_arguments(unlearner: Unlearner) -> dict[str, Any]:
    """The arguments that must not change within a run, as they are used."""
    arguments = {**unlearner.args.to_dict(), "freeze_normalization": unlearner.freezes_normalization}
    # The length of a run determines the learning rate at a step, unless that is constant.
    free = set(FREE_ARGUMENTS) if arguments["lr_scheduler_type"] == "constant" else {*FREE_ARGUMENTS} - {"num_rewinds"}
    return {name: value for name, value in arguments.items() if name not in free and not name.startswith(_NEUTRAL)}


def free_arguments(unlearner: Unlearner) -> dict[str, Any]:
    """The arguments that may change within a run."""
    arguments = unlearner.args.to_dict()
    return {name: arguments[name] for name in FREE_ARGUMENTS}


def own_parameters(method: type[Unlearner]) -> set[str]:
    """Keyword-only parameters of a method that [`Unlearner`] does not have."""
    from .unlearner import Unlearner

    shared = set(inspect.signature(Unlearner.__init__).parameters) | {"retain_dataset"}
    own = {
        name
        for kind in method.__mro__
        if issubclass(kind, Unlearner) and kind is not Unlearner and "__init__" in vars(kind)
        for name, parameter in inspect.signature(vars(kind)["__init__"]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return own - shared


def method_settings(unlearner: Unlearner) -> dict[str, Any]:
    """The parameters of a method that it keeps as attributes of the same name, if numbers, texts or tensors."""
    values = {name: getattr(unlearner, name, None) for name in sorted(own_parameters(type(unlearner)))}
    values = {name: value.tolist() if torch.is_tensor(value) else value for name, value in values.items()}
    return {name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, list))}


def start_hash(unlearner: Unlearner, frozen: str) -> str:
    """
    SHA-256 of all parameters and buffers of a model, the same on all processes: that of the first one, because the
    others may load the weights later (`fsdp_cpu_ram_efficient_loading`).

    Args:
        unlearner ([`Unlearner`]): The run.
        frozen (`str`): The hash of the parameters that the run does not change, see [`hash_of_frozen`].
    """
    model = unlearner.accelerator.unwrap_model(unlearner.model)
    tracked = {name: value for name, value in model.named_parameters() if name in unlearner.tracked.parameters}
    digest = tensors_hash(_whole({**tracked, **dict(model.named_buffers())}))
    return of_first_process(unlearner, hashlib.sha256(f"{frozen}{digest}".encode()).hexdigest())


def hash_of_frozen(unlearner: Unlearner) -> str:
    """
    SHA-256 of the parameters of a model that the run does not change, such as a base model under an adapter; that of
    the first process. With sharded parameters a collective operation.
    """
    model = unlearner.accelerator.unwrap_model(unlearner.model)
    frozen = {name: value for name, value in model.named_parameters() if name not in unlearner.tracked.parameters}
    return of_first_process(unlearner, tensors_hash(_whole(frozen)))


def of_first_process(unlearner: Unlearner, value: Any) -> Any:
    """The value that the first process has, on all processes."""
    return broadcast_object_list([value])[0] if unlearner.args.world_size > 1 else value


def _whole(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in tensors.items():
        yield name, value.full_tensor() if isinstance(value, DTensor) else value


def note_settings(unlearner: Unlearner, state: TrainerState) -> None:
    """Records the settings of this call of `train()` that differ from those of the call before it."""
    settings = {
        **fixed_arguments(unlearner),
        **free_arguments(unlearner),
        "per_device_train_batch_size": (state.train_batch_size or 0) // max(1, unlearner.args.n_gpu),
    }
    given = {**settings, "per_device_train_batch_size": unlearner.args.per_device_train_batch_size}
    unlearner.run_state.note_changes(unlearner.run_state.steps_before, unlearner.used_settings or given, settings)
    unlearner.used_settings = settings


def difference(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str | None:
    """The first difference of two identities, in words; `None` if there is none."""
    for name in [*current, *(name for name in saved if name not in current)]:
        if saved.get(name) != current.get(name):
            return (
                f"it was saved with `{name}` = {_short(saved.get(name))}, but this run has {_short(current.get(name))}"
            )
    return None


def _settings_of(config: Any) -> Any:
    settings = config.to_dict() if hasattr(config, "to_dict") else {}
    return {name: value for name, value in settings.items() if name not in _NOT_SETTINGS}


def _describe(value: Any) -> str | None:
    """A function by its name; an object by its class and its attributes of simple types."""
    if value is None:
        return None
    name = getattr(value, "__qualname__", type(value).__qualname__)
    attributes = vars(value) if hasattr(value, "__dict__") and not hasattr(value, "__qualname__") else {}
    simple = {key: item for key, item in sorted(attributes.items()) if isinstance(item, (bool, int, float, str))}
    return f"{name}{simple or ''}"


def _optimizer(unlearner: Unlearner) -> str | None:
    """An optimizer that the caller passed; one that the Trainer makes follows from the arguments."""
    if unlearner.makes_optimizer or unlearner.optimizer is None:
        return None
    return f"{type(unlearner.optimizer).__qualname__}{sorted(unlearner.optimizer.defaults.items(), key=str)}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _short(value: Any) -> Any:
    """The first characters of a hash or of a long text; other values as they are."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 60 else value


__all__ = [
    "FREE_ARGUMENTS",
    "difference",
    "fixed_arguments",
    "free_arguments",
    "hash_of_frozen",
    "identity_of",
    "method_settings",
    "note_settings",
    "of_first_process",
    "own_parameters",
    "start_hash",
]
