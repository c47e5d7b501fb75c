"""`Unlearner`: a `Trainer` whose `train()` ends where enough is forgotten. Every method is a subclass of it."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import TrainOutput
from transformers.utils import logging

from ..audit.private import save_hashes
from ..audit.record import write_record
from ..surrogates import Surrogates
from ..trajectory.freezing import frozen_parameters, frozen_statistics
from ..trajectory.sharding import reshard
from ..trajectory.snapshot import Snapshot
from ..trajectory.tracking import TrackedParameters, select_parameters
from . import checkpoint, measuring
from .accuracy import accuracy_of
from .arguments import UnlearningArguments
from .callback import UnlearningCallback
from .checks import (
    arguments_of,
    check_datasets,
    check_distribution,
    check_model,
    check_output_dir,
    check_rules,
    evaluation_sets,
)
from .dry_run import check_examples
from .folder_lock import locked_folder
from .guard import copy_of_everything, good_weights_on_exit
from .heads import NEXT_TOKEN, head_of
from .identity import hash_of_frozen, identity_of, start_hash
from .indexed import INDEX, IndexedDataset, indexed_batches
from .last_good import LastGoodWeights
from .loss_scale import divides_by_items, is_divided
from .method_hooks import MethodHooks
from .record import record_of
from .recovery import Recovery
from .state import NOT_REACHED, UNCHANGED, RunState
from .stopping import StoppingRule, rules_from
from .uploading import check_push, push_run


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

    from ..scenarios import UnlearningSplits


logger = logging.get_logger(__name__)


class Unlearner(MethodHooks, Trainer):
    r"""
    A `Trainer` that measures after every round, stops by rules, and returns to the last good weights. As it is, it
    fine-tunes; a method overrides `compute_loss` or [`MethodHooks`].

    Args:
        model (`PreTrainedModel` or `nn.Module`): The trained model; changed in place by `train()`. A module may have a
            `label_names` attribute (an empty one means that it returns a loss without labels), a `save_pretrained`,
            and an `on_train_exit`, which is called when `train()` ends or fails.
        args ([`UnlearningArguments`]): Length of the rounds, and when to stop.
        forget_dataset (`datasets.Dataset` or sized `torch.utils.data.Dataset`): D_f, as in training. An unsized one
            works with `snapshot_strategy="steps"`.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): Evaluated after every round, in addition to the
            forget set. A single data set is called `"unseen"`: examples that the model was not trained on.
        forget_eval_dataset (`Dataset`, *optional*): D_f with test-time transforms; `forget_dataset` by default.
        stopping_rules (`Sequence[StoppingRule]`, *optional*): Custom rules, in addition to those of the arguments.
        evaluators (`Sequence[Callable]`, *optional*): Called with the model after every round; each returns a
            `dict[str, float]` of further metrics. One that raises [`NonFiniteWeightsError`] undoes the round.
        evaluate_others (`Callable`, *optional*): Called with the metrics of the forget set; if it returns `False`, the
            other evaluation sets are skipped in this round, except those that a stopping rule needs.
        train_dataset (`Dataset`, *optional*): Dataset for the optimizer steps, if it differs from `forget_dataset`.
        surrogates (`str` or [`Surrogates`], *optional*): Inputs near the forget set, on which recovery keeps the
            answers of the original model; by default those that suit the inputs, see [`find_surrogates`].
        trainer_kwargs: Other arguments of [`~transformers.Trainer`]: `data_collator`, `processing_class`,
            `compute_loss_func`, `compute_metrics` (must return `"accuracy"` if UA is needed), `callbacks`, ...

    Attributes:
        history (`list[dict[str, float]]`): The measured points, the starting point first: round, step, seconds, UA,
            and the losses and accuracies of every evaluation set.
        stop_reason (`str`): Why the last `train()` ended.
        outcome (`str`): What the run achieved: `"reached"`, `"target not reached"`, `"unchanged"`, or `"no target"` if
            no rule set one.
        tracked ([`TrackedParameters`]), last_good ([`LastGoodWeights`]), run_state ([`RunState`]): The state of a run.

    Raises:
        ValueError, TypeError: An argument cannot work; the message names it. The model is unchanged.
    """

    args: UnlearningArguments
    hub_model_id: Any

    def __init__(
        self,
        model: nn.Module,
        args: UnlearningArguments,
        forget_dataset: Any,
        eval_dataset: Any = None,
        forget_eval_dataset: Any = None,
        *,
        stopping_rules: Sequence[StoppingRule] = (),
        evaluators: Sequence[Callable[[nn.Module], Mapping[str, float]]] = (),
        evaluate_others: Callable[[Mapping[str, float]], bool] | None = None,
        train_dataset: Any = None,
        surrogates: str | Surrogates | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        check_model(model)
        if not isinstance(args, UnlearningArguments):
            raise TypeError(f"`args` must be UnlearningArguments, got {type(args).__name__}.")
        args.derive_length()
        if "model_init" in trainer_kwargs:
            raise TypeError("`model_init` is not supported: pass the trained model as `model`.")
        self.check_arguments(args)
        sets = evaluation_sets(forget_dataset, eval_dataset, forget_eval_dataset)
        check_datasets(model, args, forget_dataset, train_dataset, sets)
        parameters = select_parameters(model, args.tracked_parameters)
        rules = [*rules_from(args, sets), *stopping_rules]
        check_rules(rules, sets)
        label_names = getattr(model, "label_names", args.label_names)
        self.accuracy = accuracy_of(model, label_names, args, trainer_kwargs)
        check_output_dir(args.output_dir)

        self.forget_dataset = forget_dataset
        self.run_state = RunState()
        self.evaluators, self.evaluate_others = list(evaluators), evaluate_others
        super().__init__(
            model=model,
            args=args,
            train_dataset=forget_dataset if train_dataset is None else train_dataset,
            eval_dataset=sets,
            **trainer_kwargs,
        )
        check_distribution(self.accelerator, type(self).__name__, self.needs_whole_weights, args.auto_find_batch_size)
        if label_names is not None:
            self.label_names = list(label_names)
        self.makes_optimizer = self.optimizer is None
        check_examples(self, {"forget_dataset": forget_dataset, **arguments_of(sets, forget_dataset, train_dataset)})
        self.model_accepts_loss_kwargs = divides_by_items(self, forget_dataset)
        if head_of(model) == NEXT_TOKEN:
            # The Trainer knows this of classes called `...ForCausalLM` only; the loss of a GPT2LMHeadModel would be
            # divided by one label too many in each row.
            self._loss_shifts_labels = True
        buffers = {} if self.freezes_normalization else dict(model.named_buffers())
        self.tracked = TrackedParameters(parameters, buffers)
        self.last_good = LastGoodWeights(self.tracked)
        # All weights as they were before a run was resumed, until its first step.
        self.weights_at_entry: Snapshot | None = None
        self._incomplete_folder: Path | None = None
        self._start_hash: str | None = None
        self._fingerprint: dict[str, Any] | None = None
        # A copy of the start, if a run may have to begin again after an out-of-memory error.
        self.start: Snapshot | None = None
        self._facts: dict[str, Any] = {}
        # The arguments of the last call of `train()` as they were used.
        self.used_settings: dict[str, Any] | None = None
        self.run_id = ""
        # Hash of the parameters that no run changes.
        self.frozen_hash: str | None = None
        self.recovery = Recovery(self, surrogates)
        self.unlearning = UnlearningCallback(self, rules)
        self.add_callback(self.unlearning)

    def fingerprint(self) -> dict[str, Any]:
        """What must be the same in all parts of a run that is resumed, by name; see [`identity_of`]."""
        if self.frozen_hash is None:
            self.frozen_hash = hash_of_frozen(self)
        if self._start_hash is None:
            self._start_hash = start_hash(self, self.frozen_hash)
        return identity_of(self, self._start_hash)

    # ---- Measuring ----

    @property
    def history(self) -> list[dict[str, float]]:
        return self.run_state.history

    @property
    def stop_reason(self) -> str | None:
        return self.run_state.stop_reason

    @property
    def outcome(self) -> str | None:
        return self.run_state.outcome

    def measure(self, splits: Sequence[str] | None = None) -> dict[str, float]:
        """
        Evaluates the model on evaluation sets, without drawing from the random generators.

        Args:
            splits (`Sequence[str]`, *optional*): Names of evaluation sets; all of them by default. The evaluators are
                called if no name is given: with `None`, and with an empty sequence, which means them alone.
        """
        return measuring.measure(self, splits)

    def measure_round(self) -> dict[str, float]:
        """Evaluates the model after a round: on all evaluation sets, unless `evaluate_others` skips some."""
        return measuring.measure_round(self)

    def log_point(self, point: dict[str, float]) -> None:
        """Logs a point of the history."""
        with measuring.preserved_control(self):
            self.log(point)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Loads every example, in batches that the Trainer keeps for this data set alone."""
        name = measuring.name_of_set(self, eval_dataset)
        if name is not None and not isinstance(name, str):
            return self.get_test_dataloader(name)
        with measuring.all_examples(self.args):
            return super().get_eval_dataloader(name)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        """Loads every example, also with `dataloader_drop_last`."""
        with measuring.all_examples(self.args):
            return super().get_test_dataloader(test_dataset)

    # ---- Training ----

    @property
    def freezes_normalization(self) -> bool:
        """Whether the running statistics of BatchNorm stay as they are outside of a recovery."""
        chosen = self.args.freeze_normalization
        return not self.needs_retain if chosen is None else chosen

    @property
    def recovering(self) -> bool:
        """Whether the run is in its second phase, see [`Recovery`]."""
        return self.run_state.recovering

    def forget_part(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The inputs of D_f in a batch of training."""
        return inputs

    def get_train_dataloader(self) -> Any:
        if not self.recovery.uses_table:
            return super().get_train_dataloader()
        with indexed_batches(self):
            return super().get_train_dataloader()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        indexed = isinstance(train_dataset, IndexedDataset)
        return super()._get_train_sampler(train_dataset.examples if indexed else train_dataset)

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """The length of the rewinding, as the Trainer derives it, and that of the recovery."""
        epochs, per_epoch, examples, samples, batch, in_epoch, steps = super().set_initial_training_values(
            args, dataloader
        )
        more = self.recovery.total_steps
        epochs = min(epochs + -(-more // per_epoch), sys.maxsize)
        return epochs, per_epoch, examples, samples + more * batch, batch, in_epoch, steps + more

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        return super().create_scheduler(max(1, num_training_steps - self.recovery.total_steps), optimizer)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        if not self.recovering:
            inputs.pop(INDEX, None)
        return super().training_step(model, inputs, *args, **kwargs)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not (self.recovering and model.training):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss = self.recovery.loss(model, self.forget_part(inputs))
        return loss if is_divided(self, num_items_in_batch) else loss / self.current_gradient_accumulation_steps

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """
        Unlearns; takes and returns what [`~transformers.Trainer.train`] does.

        An exception restores the last good weights. A keyboard interrupt also saves them. With several processes
        nothing is restored: resume from the last checkpoint. A second call goes on from the weights of the first; the
        history, the record and the rules keep the start of the first.

        Raises:
            CorruptCheckpointError: `resume_from_checkpoint` is incomplete, damaged, pickled or belongs to another run;
                the model is unchanged.
            OutputFolderInUseError: Another run is using the output directory.
            InsufficientMemoryError: The trajectory does not fit; the message names settings that do.
        """
        with locked_folder(self.args.output_dir, self.accelerator):
            return self._train(resume_from_checkpoint, *args, **kwargs)

    def _train(self, resume_from_checkpoint: str | bool | None, *args: Any, **kwargs: Any) -> TrainOutput:
        self._fingerprint = None
        model = self.accelerator.unwrap_model(self.model)
        reshard(model)
        self.cached_fingerprint()  # before a weight changes, and on all processes together
        folder = checkpoint.find_checkpoint(self, resume_from_checkpoint)
        if self.makes_optimizer:
            self.optimizer = None  # that of an earlier call has its learning rate and moments
        self.last_good.folder = self.args.trajectory_path
        self.last_good.remove_files()  # of a run that was killed
        copies = folder is not None and self.is_single_process and self.tracked.shards.layout == "single"
        self.weights_at_entry = copy_of_everything(model) if copies else None
        self.start = copy_of_everything(model) if self.args.auto_find_batch_size and folder is None else None
        self.last_good.snapshot = None
        self.unlearning.begin_call(folder)
        if folder is None:
            self.run_id = uuid.uuid4().hex
            checkpoint.begin_run(self)
        with ExitStack() as contexts:
            if hasattr(model, "on_train_exit"):
                contexts.callback(model.on_train_exit)
            contexts.enter_context(frozen_parameters(model, self.tracked.parameters))
            contexts.enter_context(frozen_statistics(model, lambda: self.freezes_normalization or self.recovering))
            contexts.callback(self.last_good.remove_files)
            contexts.enter_context(good_weights_on_exit(self, folder))
            return super().train(folder, *args, **kwargs)

    def restart(self, optimizer: Any) -> None:
        """Returns to the start of the run, after an out-of-memory error made the Trainer begin it again."""
        assert self.start is not None
        self.start.restore()
        self.last_good.snapshot = None
        self.last_good.sync_copies()
        optimizer.state.clear()

    @property
    def is_single_process(self) -> bool:
        return self.accelerator.num_processes == 1

    def load_run(self, folder: str) -> None:
        """Continues a run from a checkpoint; called by the callback when a run is resumed."""
        checkpoint.load_run(self, folder)

    def cached_fingerprint(self) -> dict[str, Any]:
        """The fingerprint, computed once in each `train()`."""
        if self._fingerprint is None:
            self._fingerprint = self.fingerprint()
        return self._fingerprint

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._incomplete_folder is None else str(self._incomplete_folder)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Saves as the Trainer does, together with the run, atomically."""
        with checkpoint.atomic_checkpoint(self, Path(self._get_output_dir(trial))) as incomplete:
            self._incomplete_folder = incomplete
            try:
                super()._save_checkpoint(model, trial)
                checkpoint.save_run(self, incomplete / f"checkpoint-{self.state.global_step}")
            finally:
                self._incomplete_folder = None

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        model = self.accelerator.unwrap_model(self.model)
        if checkpoint.saves_itself(model):
            state_dict = checkpoint.trained_tensors(self, model.state_dict() if state_dict is None else state_dict)
        super()._save(output_dir, state_dict)
        # A pickle, which nobody should have to trust; the record has the arguments as JSON.
        Path(output_dir or str(self.args.output_dir), TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or not checkpoint.saves_itself(self.accelerator.unwrap_model(self.model)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            checkpoint.load_trained_tensors(self.model if model is None else model, resume_from_checkpoint)

    # ---- Saving and uploading ----

    def save_model(self, output_dir: str | os.PathLike | None = None, _internal_call: bool = False) -> None:
        """Saves as the Trainer does and, after a finished run, the record beside the model."""
        folder, model = str(output_dir or self.args.output_dir), self.accelerator.unwrap_model(self.model)
        if _internal_call or not checkpoint.saves_itself(model):
            with self._no_push():
                super().save_model(folder if output_dir else None, _internal_call)
        elif self.is_world_process_zero():
            model.save_pretrained(folder)
        if _internal_call or self.stop_reason is None:
            return
        if self.is_world_process_zero():
            self.save_record(folder)
        if self.args.push_to_hub and self.run_state.outcome in (UNCHANGED, NOT_REACHED):
            logger.warning(
                f"Nothing is pushed, the outcome of the run is {self.run_state.outcome!r} ({self.stop_reason}); "
                "`push_to_hub(allow_unfinished=True)` pushes it."
            )
        elif self.args.push_to_hub:
            self.push_to_hub(commit_message="Model save")

    def save_record(
        self,
        output_dir: str | os.PathLike | None = None,
        *,
        splits: UnlearningSplits | None = None,
        metrics: Mapping[str, Mapping[str, float] | None] | None = None,
        retrained_used: bool | None = None,
        base_model: str | None = None,
        datasets: Sequence[str] | None = None,
        license: str | None = None,
    ) -> dict[str, Any]:
        """
        Writes `unlearning.json` beside the saved model; arguments that are left out keep the values of earlier calls.

        Args:
            output_dir (`str` or `os.PathLike`, *optional*): Folder of the model; `output_dir` of the arguments by
                default.
            splits ([`UnlearningSplits`], *optional*): Their counts and a commitment to their forget indices are
                recorded, and neither an index nor a seed.
            metrics (`dict`, *optional*): For `"original"`, `"unlearned"` and `"retrained"`, the metrics of
                [`~hf_invwnn.image_classification.evaluate_model`]. By default the first and last point of the run.
            retrained_used (`bool`, *optional*): Whether a retrained model determined where to stop. Known to be
                `False` if no `target_ua` and no custom rule is set.
            base_model (`str`, *optional*), datasets (`list[str]`, *optional*), license (`str`, *optional*): Hub ids
                and licence, for the card.

        Returns:
            `dict`: The whole record, which is private; what of it may be published is in `unlearning.json`.

        Raises:
            ValueError: The run has not finished.
        """
        if self.stop_reason is None:
            raise ValueError("There is nothing to record before `train` has finished.")
        facts = {
            "splits": splits,
            "metrics": metrics,
            "retrained_used": retrained_used,
            "base_model": base_model,
            "datasets": list(datasets) if datasets else None,
            "license": license,
        }
        self._facts |= {name: value for name, value in facts.items() if value is not None}
        folder = str(output_dir or self.args.output_dir)
        record = record_of(self, folder, self._facts)
        write_record(record, folder)
        save_hashes(folder)
        return record

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Checks, before any work, that a push will be possible; creates no repository."""
        if not self.is_world_process_zero():
            return
        self.hub_model_id = check_push(self, token)
        self.push_in_progress = None

    def push_to_hub(  # type: ignore[override]
        self,
        commit_message: str | None = "End of unlearning",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        allow_unfinished: bool = False,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """
        Uploads the saved model of a finished run, its card and its record, as one commit; see [`~hf_invwnn.hub.push`].

        Args:
            commit_message (`str`, *optional*), token (`str`, *optional*), revision (`str`, *optional*),
                private (`bool`, *optional*): As for [`~transformers.Trainer.push_to_hub`].
            blocking (`bool`, defaults to `True`): Must be `True`.
            allow_unfinished (`bool`, defaults to `False`): Also push a model that was not changed, or does not reach
                the target of its run.
            kwargs: `base_model`, `datasets`, `license` and the others of [`~Unlearner.save_record`].

        Raises:
            ValueError: The run has not finished or did not reach its target, or `blocking` is `False`.
            PushError: The push failed.
        """
        if not blocking:
            raise ValueError("`blocking` must be True: a push is one commit that succeeds or fails as a whole.")
        if self.stop_reason is None:
            raise ValueError("Nothing is pushed before `train` has finished: the model still holds the forget set.")
        if self.hub_model_id is None:
            self.init_hf_repo(token=token)
        with self._no_push():
            self.save_model()
        if not self.is_world_process_zero():
            return None
        self.save_record(**kwargs)
        return push_run(
            self,
            commit_message=commit_message,
            token=token,
            revision=revision,
            private=private,
            allow_unfinished=allow_unfinished,
        )

    @contextmanager
    def _no_push(self) -> Iterator[None]:
        """Within this context the Trainer saves without pushing."""
        push_to_hub, self.args.push_to_hub = self.args.push_to_hub, False
        try:
            yield
        finally:
            self.args.push_to_hub = push_to_hub


__all__ = ["Unlearner"]
