"""What the two models of a recovery answer to: the rows of a batch of D_f, surrogates of them, and what is drawn."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .heads import NEXT_TOKEN, TOKEN_CLASSES, TOKENS
from .indexed import INDEX, IndexedCollator, IndexedDataset, without_unused_columns
from .labels import IGNORED_LABEL


if TYPE_CHECKING:
    from .recovery import Recovery


class RecoveryInputs:
    """
    Makes the inputs of a recovery.

    Args:
        recovery ([`Recovery`]): The recovery, which owns this.
    """

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = weakref.ref(recovery)
        # The step, and which of its accumulated batches.
        self._micro_batch = (-1, 0)

    @property
    def recovery(self) -> Recovery:
        recovery = self._recovery()
        assert recovery is not None  # it owns this
        return recovery

    # ---- A step ----

    def of(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the model needs to answer, without labels; an encoder-decoder makes the decoder's inputs of them."""
        model: Any = self.recovery.unlearner.accelerator.unwrap_model(self.recovery.unlearner.model)
        keeps = self.recovery.head == TOKENS and getattr(getattr(model, "config", None), "is_encoder_decoder", False)
        names = set() if keeps else set(self.recovery.unlearner.label_names)
        return {name: value for name, value in inputs.items() if name != INDEX and name not in names}

    def rows_and_surrogates(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """
        The inputs of a batch and surrogates of them, with what the model draws for its answers.

        All is drawn for the batches of all processes together, by a generator seeded with the run's seed, the step
        and the accumulated batch, so that it depends neither on the number of processes nor on whether the run was
        resumed.
        """
        unlearner = self.recovery.unlearner
        accelerator, step = unlearner.accelerator, unlearner.state.global_step
        self._micro_batch = (step, self._micro_batch[1] + 1 if self._micro_batch[0] == step else 0)
        seed = self.seed_of_step()
        rows = self.of(inputs)
        world, rank = accelerator.num_processes, accelerator.process_index
        shapes = accelerator.gather(_shape_of(rows, unlearner.args.device)) if world > 1 else None
        same = shapes is None or bool((shapes == shapes[0]).all())
        whole = {name: accelerator.gather(value) for name, value in rows.items()} if world > 1 and same else rows
        if not same:
            seed += rank
        generator = torch.Generator().manual_seed(seed)
        near = self.near(whole, generator)
        whole = self._with_draws(whole, generator)
        if world == 1 or not same:
            return whole, near
        count = len(next(iter(rows.values())))
        mine = slice(rank * count, (rank + 1) * count)
        return tuple({name: value[mine] for name, value in part.items()} for part in (whole, near))  # type: ignore[return-value]

    def seed_of_step(self) -> int:
        """The seed of what is drawn for the current batch."""
        return int(
            np.random.SeedSequence([self.recovery.unlearner.args.seed, *self._micro_batch]).generate_state(1)[0]
        )

    def near(self, inputs: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        assert self.recovery.surrogates is not None
        near = self.recovery.surrogates(
            inputs, generator, lambda batch: self.recovery.answer(self.recovery.original, batch)
        )
        return self._with_draws(near, generator)

    def _with_draws(self, inputs: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
        """The inputs with what a model draws for its answers, such as the noise of a diffusion model."""
        draw = getattr(
            self.recovery.unlearner.accelerator.unwrap_model(self.recovery.unlearner.model), "draw_inputs", None
        )
        return inputs if draw is None else draw(inputs, generator)

    def counted(self, inputs: Mapping[str, Any]) -> torch.Tensor | None:
        """Which positions of a text count: those with a label; all but padding, if there are no labels."""
        if self.recovery.head not in (TOKEN_CLASSES, TOKENS, NEXT_TOKEN):
            return None
        labels, mask = inputs.get("labels"), inputs.get("attention_mask")
        counted = mask.bool() if labels is None and mask is not None else None
        counted = labels != IGNORED_LABEL if labels is not None else counted
        if counted is not None and self.recovery.head == NEXT_TOKEN:
            # The logits at a position answer for the token after it.
            counted = torch.cat([counted[:, 1:], torch.zeros_like(counted[:, :1])], dim=1)
        return counted

    # ---- The forget set ----

    def batches(self, count: int) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
        """The first examples of D_f in their order, in batches with their places; the same on every process."""
        unlearner = self.recovery.unlearner
        examples = IndexedDataset(without_unused_columns(unlearner, self.forget_set()))
        first = torch.utils.data.Subset(examples, range(count))
        collate: Any = unlearner._get_collator_with_removed_columns(unlearner.data_collator, description="recovery")
        size = unlearner.args.per_device_eval_batch_size
        for batch in torch.utils.data.DataLoader(first, batch_size=size, collate_fn=IndexedCollator(collate)):
            inputs = unlearner._prepare_inputs(batch)
            yield inputs[INDEX], inputs

    def forget_set(self) -> Any:
        """D_f with test-time transforms, if it has as many examples as in training."""
        unlearner = self.recovery.unlearner
        sets = unlearner.eval_dataset if isinstance(unlearner.eval_dataset, Mapping) else {}
        trained, evaluated = unlearner.forget_dataset, sets.get("forget", unlearner.forget_dataset)
        return evaluated if len(evaluated) == len(trained) else trained


def _shape_of(inputs: Mapping[str, Any], device: torch.device) -> torch.Tensor:
    """The shapes of the inputs as one row."""
    sizes = [size for _, value in sorted(inputs.items()) for size in value.shape]
    return torch.tensor([sizes], device=device)


__all__ = ["RecoveryInputs"]
