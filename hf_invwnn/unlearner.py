"""`InvWNNUnlearner`: a `Trainer` whose `train()` makes a model forget by rewinding it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from .base_unlearner import Unlearner
from .identity import predictor_hash
from .predictor import PastWeightPredictor, load_predictor
from .rewinding import RewindingCallback
from .training_args import UnlearningArguments


class InvWNNUnlearner(Unlearner):
    r"""
    Makes a model forget given examples from those examples alone, by "Learning to Rewind via Iterative Prediction of
    Past Weights for Practical Unlearning" (Jang, Kim and Youn, AAAI 2025). `train()` fine-tunes on the forget set,
    records every tracked parameter, predicts what it was before, puts that in, and repeats until a stopping rule holds
    or `num_rewinds` are done. The model then has the weights of the last good point; `save_model` and the rest are the
    Trainer's.

    Args:
        model (`PreTrainedModel` or `nn.Module`): The trained model; changed in place by `train()`.
        args ([`UnlearningArguments`]): How to rewind and when to stop.
        forget_dataset (`datasets.Dataset` or sized `torch.utils.data.Dataset`): D_f, as in training. An unsized one
            works with `snapshot_strategy="steps"`.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): Evaluated after every rewind, in addition to the
            forget set. A single one is the held-out set, of examples the model has never seen; in a dictionary the
            held-out set is the one called `"held_out"`.
        forget_eval_dataset (`Dataset`, *optional*): D_f with test-time transforms; `forget_dataset` by default.
        predictor ([`PastWeightPredictor`] or `str`, *optional*): The predictor (moved to the device of the model), or
            what [`load_predictor`] takes: the folder or Hub id of one, `"base"` (the default) or `"linear"`.
        kwargs: The other arguments of [`Unlearner`], which are those of [`~transformers.Trainer`] and
            `stopping_rules`.

    Attributes:
        history (`list[dict[str, float]]`): The measured points, the starting one first: rewind, step, seconds, UA and
            the losses and accuracies of every evaluation set.
        stop_reason (`str`): Why the last `train()` ended.

    Raises:
        ValueError, TypeError: An argument cannot work; the message names it. The model is unchanged.
    """

    def __init__(
        self,
        model: nn.Module,
        args: UnlearningArguments,
        forget_dataset: Any,
        eval_dataset: Any = None,
        forget_eval_dataset: Any = None,
        predictor: PastWeightPredictor | str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> None:
        self.predictor = load_predictor(predictor)
        super().__init__(model, args, forget_dataset, eval_dataset, forget_eval_dataset, **kwargs)

    def _make_callback(self, parameters: Mapping[str, nn.Parameter], **kwargs: Any) -> RewindingCallback:
        if isinstance(self.predictor, nn.Module):
            self.predictor.to(self.args.device)
        return RewindingCallback(parameters, predictor=self.predictor, **kwargs)

    def identity(self) -> dict[str, str | None]:
        return {**super().identity(), "predictor": predictor_hash(self.predictor)}

    def _check_arguments(self, args: UnlearningArguments) -> None:
        super()._check_arguments(args)
        if self.predictor.num_snapshots not in (None, args.num_snapshots):
            raise ValueError(
                f"`predictor` was made for K = {self.predictor.num_snapshots} snapshots, but `num_snapshots` is "
                f"{args.num_snapshots}; set `num_snapshots={self.predictor.num_snapshots}`."
            )


__all__ = ["InvWNNUnlearner"]
