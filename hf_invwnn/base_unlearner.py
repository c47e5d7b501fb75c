"""`Unlearner`: a `Trainer` whose `train()` ends where enough is forgotten; what every method has in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from torch import nn
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from .accuracy import classification_accuracy, most_likely_class
from .callbacks import UnlearningCallback
from .checkpoint import DamagedCheckpoint
from .inputs import (
    check_distribution,
    check_evaluation_sets,
    check_forget_set,
    check_labels,
    check_not_empty,
    check_output_dir,
)
from .normalization import frozen_statistics
from .parts import Parts, reshard
from .resumable_trainer import ResumableTrainer
from .snapshot import Snapshot
from .stopping import StoppingRule, UATarget, UnseenLoss, UtilityFloor
from .storage import NotEnoughRoom
from .training_args import UnlearningArguments
from .trajectory import select_parameters


logger = logging.get_logger(__name__)


class Unlearner(ResumableTrainer):
    r"""
    A `Trainer` that measures after every turn, stops by rules, and goes back to the last good weights. Alone it
    fine-tunes; a method overrides `compute_loss` or `_make_callback`.

    Args:
        model (`PreTrainedModel` or `nn.Module`): The trained model; changed in place by `train()`.
        args ([`UnlearningArguments`]): How long a turn is, and when to stop.
        forget_dataset (`datasets.Dataset` or sized `torch.utils.data.Dataset`): D_f, as in training. An unsized one
            works with `snapshot_strategy="steps"`.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): Evaluated after every turn, in addition to the
            forget set. A single one is the held-out set, of examples the model has never seen; in a dictionary the
            held-out set is the one called `"held_out"`.
        forget_eval_dataset (`Dataset`, *optional*): D_f with test-time transforms; `forget_dataset` by default.
        stopping_rules (`Sequence[StoppingRule]`, *optional*): Rules of your own, beside those the arguments ask for.
        train_on (`Dataset`, *optional*): What steps are taken on, where it is not `forget_dataset`.
        trainer_kwargs: The other arguments of [`~transformers.Trainer`]: `data_collator`, `processing_class`,
            `compute_loss_func`, `compute_metrics` (must return `"accuracy"` where UA is wanted), `callbacks`, ...

    Attributes:
        history (`list[dict[str, float]]`): The measured points, the starting one first: number of the turn (`rewind`),
            step, seconds, UA and the losses and accuracies of every evaluation set.
        stop_reason (`str`): Why the last `train()` ended.

    Raises:
        ValueError, TypeError: An argument cannot work; the message names it. The model is unchanged.
    """

    args: UnlearningArguments
    needs_whole_weights: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        args: UnlearningArguments,
        forget_dataset: Any,
        eval_dataset: Any = None,
        forget_eval_dataset: Any = None,
        stopping_rules: Sequence[StoppingRule] = (),
        train_on: Any = None,
        **trainer_kwargs: Any,
    ) -> None:
        if not isinstance(args, UnlearningArguments):
            raise TypeError(f"`args` must be UnlearningArguments, got {type(args).__name__}.")
        self._check_arguments(args)
        for name in ("train_dataset", "model_init"):
            if name in trainer_kwargs:
                raise TypeError(
                    f"`{name}` has no place here: pass the trained model as `model`, D_f as `forget_dataset`."
                )
        batch = args.per_device_train_batch_size * args.world_size if args.dataloader_drop_last else 1
        check_forget_set(forget_dataset, args.snapshot_strategy, least=batch)
        check_labels("forget_dataset", forget_dataset, model)
        evaluation_sets = _evaluation_sets(forget_dataset, eval_dataset, forget_eval_dataset)
        check_not_empty(evaluation_sets)
        for name, dataset in evaluation_sets.items():
            if dataset is not forget_dataset:
                check_labels("forget_eval_dataset" if name == "forget" else f"eval_dataset[{name!r}]", dataset, model)
        tracked = select_parameters(model, args.tracked_parameters)
        rules = [*_rules(args, evaluation_sets), *stopping_rules]
        check_evaluation_sets(rules, evaluation_sets)
        check_output_dir(args.output_dir)

        if trainer_kwargs.get("compute_metrics") is None:
            trainer_kwargs["compute_metrics"] = classification_accuracy
            trainer_kwargs.setdefault("preprocess_logits_for_metrics", most_likely_class)
        self.forget_dataset = forget_dataset
        super().__init__(
            model=model,
            args=args,
            train_dataset=forget_dataset if train_on is None else train_on,
            eval_dataset=evaluation_sets,
            **trainer_kwargs,
        )
        check_distribution(self.accelerator, type(self).__name__, self.needs_whole_weights)
        self._makes_optimizer = self.optimizer is None
        # Many forwards (ResNet, PVT v2, BERT) take `num_items_in_batch` as a keyword and do not use it, and then the
        # gradients of n accumulated batches would be n times too long. So no model is told: each batch gives its mean,
        # and the Trainer divides by the number of batches.
        self.model_accepts_loss_kwargs = False
        buffers = {} if args.freeze_normalization else dict(model.named_buffers())
        self.unlearning = self._make_callback(
            tracked, rules=rules, measure=self.measure, report=self._report, buffers=buffers
        )
        self.add_callback(self.unlearning)

    def _check_arguments(self, args: UnlearningArguments) -> None:
        """Refuses arguments that the method cannot work with, before anything else is done."""

    def _make_callback(self, parameters: Mapping[str, nn.Parameter], **kwargs: Any) -> UnlearningCallback:
        """The callback that knows what a turn of the method is."""
        return UnlearningCallback(parameters, **kwargs)

    @property
    def history(self) -> list[dict[str, float]]:
        return self.unlearning.history

    @property
    def stop_reason(self) -> str | None:
        return self.unlearning.stop_reason

    def measure(self, splits: Sequence[str] | None = None) -> dict[str, float]:
        """Evaluates the model as it is on the named evaluation sets, on all of them by default; draws nothing."""
        assert isinstance(self.eval_dataset, dict)
        names = self.eval_dataset if splits is None else splits
        # A data loader takes a number from torch's generator; so a run does not depend on what is watched.
        with self._keeping_control(), torch.random.fork_rng(devices=[]):
            metrics = self.evaluate({name: self.eval_dataset[name] for name in names})
        if self.model is not None:
            reshard(self.model)
        return metrics

    def _report(self, point: dict[str, float]) -> None:
        with self._keeping_control():
            self.log(point)

    @contextmanager
    def _keeping_control(self) -> Iterator[None]:
        """The Trainer takes an evaluation or a log line for the one that was due, and would leave that one out."""
        due = {name: getattr(self.control, name) for name in ("should_log", "should_evaluate", "should_save")}
        yield
        for name, value in due.items():
            setattr(self.control, name, value)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """
        Unlearns; takes and returns what [`~transformers.Trainer.train`] does.

        Whatever error ends it, the model has the last good weights afterwards. Interrupted from the keyboard, it saves
        them too before the interruption goes on its way.

        Where several processes train, an error or an interruption ends them all and puts nothing back: what was last
        saved is the checkpoint before.

        Raises:
            DamagedCheckpoint: `resume_from_checkpoint` is incomplete, truncated, pickled or of another run; the model
                is unchanged.
            NotEnoughRoom: The trajectory does not fit where it is to live; the message says where it would.
        """
        folder = self._checkpoint_folder(resume_from_checkpoint)
        if self._makes_optimizer:
            self.optimizer = None  # that of an earlier call has its learning rate and its moments
        self._identity = None
        model = self.accelerator.unwrap_model(self.model)
        reshard(model)
        self.unlearning.folder = self.args.trajectory_path
        self._clear_disk()  # what a run that was killed has left
        whole = folder and self._alone and self.unlearning.parts.layout == "whole"
        self.unlearning.before, self.unlearning.last_good = _everything(model) if whole else None, None
        self.unlearning.resume = (lambda: self._resume(folder)) if folder else None
        with ExitStack() as contexts:
            contexts.enter_context(_only_trainable(model, self.unlearning.parameters))
            if self.args.freeze_normalization:
                contexts.enter_context(frozen_statistics(model))
            contexts.callback(self._clear_disk)
            try:
                return super().train(folder, *args, **kwargs)
            except KeyboardInterrupt:
                self._save_interrupted()
                raise
            except Exception as error:
                has_gone_on = self.unlearning.before is None
                self._put_back()
                if not has_gone_on and not isinstance(error, NotEnoughRoom):
                    raise DamagedCheckpoint(f"`{folder}` cannot be resumed from: {error}") from error
                raise

    def _put_back(self) -> None:
        """The last good weights, or those that the model was given, if a run that was to go on has not got so far."""
        if self.unlearning.before is not None:
            self.unlearning.before.restore()
        elif self._alone:
            self.unlearning.restore_last_good()

    @property
    def _alone(self) -> bool:
        """Whether weights can be put back without the other processes, which may have ended or be elsewhere."""
        return self.accelerator.num_processes == 1

    def _save_interrupted(self) -> None:
        if not self._alone:
            logger.warning("Interrupted; go on from the last checkpoint with `resume_from_checkpoint=True`.")
            return
        if self.unlearning.last_good is None and self.unlearning.before is not None:
            self.unlearning.before.restore()
        self.unlearning.restore_last_good()
        self.save_model()
        logger.warning(f"Interrupted; the last good weights are saved in `{self.args.output_dir}`.")

    def _clear_disk(self) -> None:
        """What was kept on disk while the run went on is of no use after it."""
        for name in ("trajectory", "last_good", "end"):
            self.unlearning.path_on_disk(name).unlink(missing_ok=True)


def _everything(model: nn.Module) -> Snapshot:
    """A copy of all weights and buffers of a model."""
    return Snapshot(Parts({**dict(model.named_parameters()), **dict(model.named_buffers())}), "cpu")


def _evaluation_sets(forget_dataset: Any, eval_dataset: Any, forget_eval_dataset: Any) -> dict[str, Any]:
    sets = dict(eval_dataset) if isinstance(eval_dataset, Mapping) else {}
    if eval_dataset is not None and not isinstance(eval_dataset, Mapping):
        sets["held_out"] = eval_dataset
    if "forget" in sets:
        raise ValueError("`eval_dataset` may not have a set called 'forget'; pass it as `forget_eval_dataset`.")
    forget = forget_dataset if forget_eval_dataset is None else forget_eval_dataset
    # An endless stream cannot be evaluated; without rules that need it the run goes on without.
    return {"forget": forget, **sets} if isinstance(forget, Sized) else sets


def _rules(args: UnlearningArguments, evaluation_sets: Mapping[str, Any]) -> list[StoppingRule]:
    rules: list[StoppingRule] = []
    if args.target_ua is not None:
        size = len(evaluation_sets["forget"]) if "forget" in evaluation_sets else 1
        rules.append(UATarget(args.target_ua, tolerance=max(args.ua_tolerance, 100 / size)))
    if args.stop_at_unseen_loss:
        rules.append(UnseenLoss())
    if args.min_utility is not None:
        split = args.utility_metric.removeprefix("eval_").rpartition("_")[0]
        rules.append(UtilityFloor(args.utility_metric, args.min_utility, splits=(split,)))
    return rules


@contextmanager
def _only_trainable(model: nn.Module, tracked: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Parameters that are not to change must not learn the forget set either."""
    held = [name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in tracked]
    for name, parameter in model.named_parameters():
        if name in held:
            parameter.requires_grad_(False)
    try:
        yield
    finally:
        # By name, since `fully_shard` puts other parameters in the place of these.
        for name, parameter in model.named_parameters():
            if name in held:
                parameter.requires_grad_(True)


__all__ = ["Unlearner"]
