"""Training of a predictor on windows of weight histories, one network for each kind, with early stopping."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

from ..predictor import PARAMETER_KINDS, InvWNNModel
from .windows import Windows


def train_predictor(
    model: InvWNNModel,
    windows: Mapping[str, Windows],
    args: TrainingArguments,
    validation: Mapping[str, Windows] | None = None,
    patience: int = 3,
) -> InvWNNModel:
    """
    Trains the network of each kind on its windows with the loss of eq. 7.

    Args:
        model ([`InvWNNModel`]): The predictor; trained in place.
        windows (`dict[str, Windows]`): Kind -> windows.
        args (`TrainingArguments`): Arguments of the training of each kind. With `validation`, evaluation and saving
            strategies must be equal and `load_best_model_at_end` true.
        validation (`dict[str, Windows]`, *optional*): Held-out windows; the training of a kind ends when their loss
            has not fallen for `patience` evaluations, and the best weights are loaded.
        patience (`int`, defaults to 3): Number of evaluations.

    Raises:
        ValueError: The windows of a kind are missing, or their K differs from that of the model.
        FloatingPointError: The training of a kind diverged.
    """
    for argument, parts in (("windows", windows), ("validation", validation)):
        if parts is not None and (missing := sorted(set(PARAMETER_KINDS) - set(parts))):
            raise ValueError(f"`{argument}` lacks the kinds {missing}.")
    for kind in PARAMETER_KINDS:
        if (snapshots := windows[kind].trajectory.shape[1]) != model.num_snapshots:
            raise ValueError(
                f"`windows` has trajectories of {snapshots} snapshots for {kind}, but the config of the model has K = "
                f"{model.num_snapshots}."
            )
    for kind in PARAMETER_KINDS:
        own = copy.copy(args)
        own.remove_unused_columns = False
        own.output_dir = os.path.join(str(args.output_dir), kind)  # separate checkpoints for each kind
        for other in PARAMETER_KINDS:
            model.networks[other].requires_grad_(other == kind)
        Trainer(
            model=model,
            args=own,
            train_dataset=replace(windows[kind], jitter=(model.config.training_jitter or {}).get(kind, 0.0)),
            eval_dataset=None if validation is None else validation[kind],
            data_collator=_already_collated,
            callbacks=None if validation is None else [EarlyStoppingCallback(patience)],
        ).train()
        _refuse_diverged(model, kind)
    model.requires_grad_(True)
    vars(model.config).pop("use_cache", None)  # set by the Trainer for language models
    return model.eval()


def _refuse_diverged(model: InvWNNModel, kind: str) -> None:
    if not all(parameter.isfinite().all() for parameter in model.networks[kind].parameters()):
        raise FloatingPointError(
            f"The network for {kind} weights diverged: its parameters are not finite. Use a smaller `learning_rate`."
        )


def _already_collated(batch: Any) -> Any:
    return batch


__all__ = ["train_predictor"]
