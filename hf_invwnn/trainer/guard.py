"""Weights after `train()` was interrupted or failed: the model never keeps those of an unfinished round."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn
from transformers.utils import logging

from ..errors import CheckpointMismatchError, CorruptCheckpointError, InsufficientMemoryError
from ..trajectory.sharding import LocalShards
from ..trajectory.snapshot import Snapshot


if TYPE_CHECKING:
    from .unlearner import Unlearner


logger = logging.get_logger(__name__)


@contextmanager
def good_weights_on_exit(unlearner: Unlearner, checkpoint: str | None) -> Iterator[None]:
    """
    Within this context an exception restores the last good weights; if resuming failed before the first step, it
    restores the weights that the model had at entry. A keyboard interrupt also saves them.

    With several processes nothing is restored, because the others may have ended: resume from the last checkpoint.

    Args:
        unlearner ([`Unlearner`]): The run.
        checkpoint (`str`, *optional*): The checkpoint that the run resumes from.

    Raises:
        CorruptCheckpointError: In place of an exception before the first resumed step.
        CheckpointMismatchError: The same, if the checkpoint belongs to another run.
    """
    try:
        yield
    except KeyboardInterrupt:
        _save_interrupted(unlearner)
        raise
    except Exception as error:
        failed_to_resume = unlearner.weights_at_entry is not None
        _restore(unlearner)
        if not unlearner.is_single_process:
            logger.error(
                "The run failed, and with several processes the model keeps the weights of an unfinished round. End "
                "all processes, and go on from the last checkpoint with `resume_from_checkpoint=True`; without one, "
                "load the original model again."
            )
        if failed_to_resume and not isinstance(error, InsufficientMemoryError):
            kind = CheckpointMismatchError if isinstance(error, CheckpointMismatchError) else CorruptCheckpointError
            raise kind(f"`{checkpoint}` cannot be resumed from: {error}") from error
        raise


def copy_of_everything(model: nn.Module) -> Snapshot:
    """A copy, in main memory, of all parameters and buffers of a model."""
    return Snapshot(LocalShards({**dict(model.named_parameters()), **dict(model.named_buffers())}), "cpu")


def _restore(unlearner: Unlearner) -> None:
    if unlearner.weights_at_entry is not None:
        unlearner.weights_at_entry.restore()
    elif unlearner.is_single_process:
        unlearner.last_good.restore()


def _save_interrupted(unlearner: Unlearner) -> None:
    if not unlearner.is_single_process:
        logger.warning("Interrupted; resume from the last checkpoint with `resume_from_checkpoint=True`.")
        return
    if unlearner.last_good.snapshot is None and unlearner.weights_at_entry is not None:
        unlearner.weights_at_entry.restore()
    unlearner.last_good.restore()
    unlearner.save_model()
    logger.warning(f"Interrupted; the last good weights are saved in `{unlearner.args.output_dir}`.")


__all__ = ["copy_of_everything", "good_weights_on_exit"]
