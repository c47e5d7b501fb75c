"""A `Trainer` whose checkpoints are there as a whole or not at all, and hold an unlearning run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import nn
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints, sort_checkpoints
from transformers.utils import logging

from .callbacks import UnlearningCallback
from .checkpoint import ASIDE, DamagedCheckpoint, OtherRun, check_checkpoint, publish, seal
from .identity import dataset_hash, frozen_hash
from .parts import on_any_process
from .recorded_trainer import RecordedTrainer
from .resuming import resume_run, save_run
from .training_args import UnlearningArguments


logger = logging.get_logger(__name__)


class ResumableTrainer(RecordedTrainer):
    """What unlearners add to `Trainer` about checkpoints: written aside, sealed, moved into place, checked."""

    args: UnlearningArguments
    unlearning: UnlearningCallback
    forget_dataset: Any
    _aside: Path | None = None
    _identity: dict[str, str | None] | None = None

    def identity(self) -> dict[str, str | None]:
        """Hashes of what must be the same in all parts of a run that is interrupted."""
        model = self.accelerator.unwrap_model(self.model)
        return {
            "forget set": dataset_hash(self.forget_dataset),
            "frozen parameters": frozen_hash(model, self.unlearning.parameters),
        }

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._aside) if self._aside is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As the Trainer does, but aside; a checkpoint gets its name when all of it has been written."""
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        run_dir = Path(self._get_output_dir(trial))
        if self.args.should_save:
            shutil.rmtree(run_dir / ASIDE, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._aside = run_dir / ASIDE
        try:
            super()._save_checkpoint(model, trial)
            save_run(self.unlearning, self.args, self._cached_identity(), self._aside / name)
        finally:
            self._aside = None
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            seal(run_dir / ASIDE / name)
            publish(run_dir / ASIDE / name, run_dir / name)
            shutil.rmtree(run_dir / ASIDE, ignore_errors=True)
            rotate_checkpoints(str(run_dir), self.args.save_total_limit, use_mtime=True)
        self.accelerator.wait_for_everyone()

    def _resume(self, folder: str) -> None:
        resume_run(self.unlearning, self.args, self._cached_identity(), folder)

    def _cached_identity(self) -> dict[str, str | None]:
        if self._identity is None:
            self._identity = self.identity()
        return self._identity

    def _checkpoint_folder(self, resume_from_checkpoint: str | bool | None) -> str | None:
        """The folder to resume from, looked through before the model is touched."""
        if not resume_from_checkpoint:
            return None
        if resume_from_checkpoint is not True:
            self._check_on_all(str(resume_from_checkpoint))
            return str(resume_from_checkpoint)
        folders = sort_checkpoints(str(self.args.output_dir))
        if not folders:
            raise ValueError(f"`resume_from_checkpoint`: there is no checkpoint in `{self.args.output_dir}`.")
        for folder in reversed(folders):
            try:
                self._check_on_all(folder)
                return folder
            except OtherRun:
                raise
            except DamagedCheckpoint as error:
                if folder == folders[0]:
                    raise
                logger.warning(f"{error} The checkpoint before is used.")
        return None

    def _check_on_all(self, folder: str) -> None:
        """Every process has a part of a checkpoint, and all take the same one."""
        found: DamagedCheckpoint | None = None
        try:
            check_checkpoint(folder, self.args.process_index, self.args.world_size, self.unlearning.parameters)
        except DamagedCheckpoint as error:
            found = error
        if on_any_process(found is not None, self.args.device):
            raise found or DamagedCheckpoint(f"`{folder}` is damaged for another process; its message says how.")


__all__ = ["ResumableTrainer"]
