"""`Recovery`: the loss of the second phase of a run, which gives back what rewinding took from everything else."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import broadcast_object_list, convert_bytes
from torch import nn
from transformers.utils import logging

from ..errors import NonFiniteLossError
from ..recovery.answers import MOST_OUTPUTS, outputs_of, table_of
from ..recovery.divergence import CLASSES, LABELS, NUMBERS, divergence, without_label
from ..recovery.weight_copy import WeightCopy
from ..surrogates import Surrogates, find_surrogates
from ..surrogates.checks import check_disjoint, check_near
from .arguments import DerivedSteps
from .dry_run import FAILURES, collated, evaluated, first_examples, in_words
from .heads import CLASSES as ONE_CLASS
from .heads import head_of
from .indexed import INDEX
from .recovery_inputs import RecoveryInputs


if TYPE_CHECKING:
    from .arguments import UnlearningArguments
    from .unlearner import Unlearner


logger = logging.get_logger(__name__)

# Fewest examples of a forget set that is recovered from by default: from a single one, recovery was measured to lose
# more than rewinding, and from ten not.
FEWEST = 10
# Examples of the forget set whose surrogates measure how far a model has drifted from the original.
_PROBED = 512


class Recovery:
    r"""
    After rewinding, minimises on the forget set alone, with x in D_f and x~ a surrogate near it,

        KL( f_rewound(x) || f(x) )  +  weight KL( f_original(x~) || f(x~) )

    The first term keeps forgotten what rewinding forgot, the second gives everything else back. No label is used,
    unless `recovery_without_labels` is set: then f_original(x~) is 0 at the label of x, and the rest is scaled to 1.

    Args:
        unlearner ([`Unlearner`]): The run. Length, rate and weight are arguments of its [`UnlearningArguments`].
        surrogates (`str` or [`Surrogates`], *optional*): As for [`find_surrogates`].

    Attributes:
        steps (`int`): Optimizer steps of one recovery; 0 if the run has none.
        copies (`dict[str, WeightCopy]`): `"original"`: the weights before the run. During a recovery also `"rewound"`:
            those at the end of rewinding, and `"beyond"`: the last measured ones that are not short of the goal.
        inputs ([`RecoveryInputs`]): What the models answer to.
    """

    def __init__(self, unlearner: Unlearner, surrogates: str | Surrogates | None = None) -> None:
        self._unlearner = weakref.ref(unlearner)
        self.surrogates: Surrogates | None = None
        self.copies: dict[str, WeightCopy] = {}
        self.inputs = RecoveryInputs(self)
        self._answers: torch.Tensor | None = None
        args, model = unlearner.args, cast(Any, unlearner.model)
        self.steps = self._steps_for_few(steps_of(args, type(unlearner)))
        self.head = head_of(model)
        self.outputs = _outputs_of_head(model, self.head)
        if self.steps or unlearner.needs_surrogates:
            try:
                self.surrogates = self._find(surrogates)
            except ValueError as error:
                if is_chosen(args) or unlearner.needs_surrogates or surrogates is not None:
                    raise
                logger.warning(f"The run will rewind alone, without recovery. {error}")
                self.steps = 0
        if not is_chosen(args):
            args.recovery_steps = DerivedSteps(self.steps)

    @property
    def unlearner(self) -> Unlearner:
        unlearner = self._unlearner()
        assert unlearner is not None  # it owns the recovery
        return unlearner

    @property
    def original(self) -> WeightCopy:
        return self.copies["original"]

    @property
    def rewound(self) -> WeightCopy:
        return self.copies["rewound"]

    @property
    def total_steps(self) -> int:
        """Steps of all recoveries of a run."""
        return self.steps * self.unlearner.args.recovery_cycles

    @property
    def uses_table(self) -> bool:
        """Whether the answers of the rewound model are a table, for which batches must say what they hold."""
        return self.steps > 0 and self._outputs_per_example <= MOST_OUTPUTS and self._has_places()

    # ---- Before the run ----

    def _steps_for_few(self, steps: int) -> int:
        """The steps, but none by default from a few examples."""
        forget = self.unlearner.forget_dataset
        if not steps or not isinstance(forget, Sized) or len(forget) >= FEWEST:
            return steps
        few = f"the forget set has {len(forget)} examples, and surrogates of fewer than {FEWEST} stand for too little"
        if is_chosen(self.unlearner.args):
            logger.warning(f"Recovery may harm the model: {few} of what is to be kept.")
            return steps
        logger.warning(f"The run will rewind alone: {few} of what recovery is to keep.")
        return 0

    def _find(self, surrogates: str | Surrogates | None) -> Surrogates:
        """The surrogates, tried on two examples."""
        unlearner = self.unlearner
        if not isinstance(unlearner.forget_dataset, Sized):
            raise ValueError("`recovery_steps` needs a forget set with a length; set `recovery_steps=0`.")
        examples = first_examples("forget_dataset", unlearner.forget_dataset)
        labelled = collated(unlearner, "forget_dataset", unlearner.forget_dataset, examples)
        inputs = self.inputs.of(labelled)
        model: Any = unlearner.model
        found = find_surrogates(surrogates, inputs)
        if unlearner.args.recovery_without_labels:
            _check_labels(self.head, labelled, found)
        if hasattr(found, "check"):
            found.check(model, inputs)
        if hasattr(found, "dataset"):
            check_disjoint(found.dataset, unlearner.forget_dataset, list(inputs))
        with torch.random.fork_rng(devices=[]), evaluated(model):
            outputs = _tried("`model` cannot answer without its labels", lambda: outputs_of(model, inputs)).detach()
            if not hasattr(found, "prepare"):  # otherwise made when recovery begins
                near = _tried(
                    f"`surrogates` ({found.name}) cannot be made of two examples of the forget set",
                    lambda: found(inputs, torch.Generator().manual_seed(0), lambda batch: outputs_of(model, batch)),
                )
                model.zero_grad()
                check_near(inputs, near, found.name)
        if not torch.isfinite(outputs).all():
            raise ValueError("`model` answers with values that are infinite or NaN on two examples of the forget set.")
        self._outputs_per_example = outputs[0].numel()
        return found

    def _has_places(self) -> bool:
        unlearner = self.unlearner
        whole = unlearner.train_dataset is unlearner.forget_dataset and isinstance(unlearner.forget_dataset, Sized)
        return whole and not hasattr(unlearner.accelerator.unwrap_model(unlearner.model), "draw_inputs")

    def remember_original(self) -> None:
        """Copies the weights before a run, and logs what recovery will hold in memory."""
        if self.surrogates is None or "original" in self.copies:
            return
        self.keep_original()
        count = len(self.unlearner.forget_dataset) if self.uses_table else 0
        logger.info(
            f"Recovery holds three copies of the weights that change ({convert_bytes(3 * self.original.nbytes)}) and "
            f"{convert_bytes(2 * count * self._outputs_per_example)} of answers of the rewound model on each process."
        )

    # ---- The phase ----

    def begin(self) -> float:
        """
        Makes the current weights the rewound ones.

        Returns:
            `float`: Their [`drift`].

        Raises:
            NonFiniteLossError: The rewound model answers with values that are not finite.
        """
        self.keep("rewound")
        self.prepare_answers()
        drift = self.drift()
        if self.unlearner.args.recovery_start == "original":
            self.original.restore()
            self.unlearner.last_good.sync_copies()
        return drift

    def prepare_answers(self) -> None:
        """
        Computes the table of what the rewound model answers on D_f.

        Raises:
            NonFiniteLossError: It has values that are not finite.
        """
        prepare = getattr(self.surrogates, "prepare", None)
        if prepare is not None:
            with torch.random.fork_rng(devices=[]):
                prepare(_Teachers(self))
        self._answers = self._table() if self.uses_table else None
        if self._answers is not None and not torch.isfinite(self._answers).all():
            raise NonFiniteLossError("the rewound model answers with values that are not finite")

    def keep_original(self) -> None:
        """Copies the current weights as `"original"`, unless that was done before; for methods that answer to them."""
        if "original" not in self.copies:
            self.keep("original")

    def keep(self, kind: str) -> None:
        """Copies the current weights as `"original"`, `"rewound"` or `"beyond"`."""
        self.copies[kind] = WeightCopy(self.unlearner.tracked)

    def end(self) -> None:
        """Frees what only the phase needs."""
        self._answers = None
        self.copies.pop("rewound", None)
        self.copies.pop("beyond", None)

    def loss(self, model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
        """
        The two terms on a batch of D_f, each a mean over the batch.

        Args:
            model (`nn.Module`): The model that is trained, as the Trainer passes it.
            inputs (`dict`): The batch, with labels and, if a table is used, [`INDEX`].
        """
        args = self.unlearner.args
        rows, near = self.inputs.rows_and_surrogates(inputs)
        with torch.no_grad():
            forgotten = self._rewound_answers(inputs, rows)
            kept = self._kept(inputs, near)
        if _can_be_joined(rows, near):
            count = len(forgotten)
            outputs = outputs_of(model, {name: torch.cat([rows[name], near[name]]) for name in rows})
            on_forget, on_near = outputs[:count], outputs[count:]
        else:
            on_forget, on_near = outputs_of(model, rows), outputs_of(model, near)
        temperature = args.recovery_temperature
        forget_term = divergence(forgotten, on_forget, self.outputs, temperature, self.inputs.counted(inputs))
        near_term = divergence(kept, on_near, self.outputs, temperature, self.inputs.counted(near))
        weight = self.unlearner.run_state.weight
        return forget_term + (args.recovery_weight if weight is None else weight) * near_term

    def set_learning_rate(self, step: int, optimizer: Any) -> None:
        """Sets the learning rate of a step of the phase, counted from 0; the scheduler sets it back afterwards."""
        args = self.unlearner.args
        rate = args.recovery_learning_rate if args.recovery_learning_rate is not None else args.learning_rate
        if args.recovery_schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        for group in optimizer.param_groups:
            own = group.get("initial_lr", args.learning_rate)
            group["lr"] = rate * (own / args.learning_rate if args.learning_rate else 1.0)

    def drift(self) -> float:
        """The divergence from the original model on fixed surrogates of at most 512 examples of D_f."""
        unlearner, total, batches = self.unlearner, 0.0, 0
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for index, inputs in self.inputs.batches(min(_PROBED, len(self.inputs.forget_set()))):
                generator = torch.Generator().manual_seed(int(index[0]))
                near = self.inputs.near(self.inputs.of(inputs), generator)
                current = self.answer(None, near)
                kept = self._kept(inputs, near)
                counted = self.inputs.counted(near)
                total += float(divergence(kept, current, self.outputs, 1.0, counted))
                batches += 1
        found = total / max(1, batches)
        return broadcast_object_list([found])[0] if unlearner.args.world_size > 1 else found

    # ---- Answers ----

    def _rewound_answers(self, inputs: Mapping[str, Any], rows: Mapping[str, Any]) -> torch.Tensor:
        if self._answers is not None and INDEX in inputs:
            return self._answers[inputs[INDEX].to(self._answers.device)]
        return self.answer(self.rewound, rows)

    def _kept(self, inputs: Mapping[str, Any], near: Mapping[str, Any]) -> torch.Tensor:
        """What the original model answers to surrogates, without the labels of their examples if so asked."""
        answer = self.answer(self.original, near)
        return without_label(answer, inputs["labels"]) if self.unlearner.args.recovery_without_labels else answer

    def answer(self, weights: WeightCopy | None, inputs: Mapping[str, Any]) -> torch.Tensor:
        """What the model answers with some weights, in evaluation mode; with its current ones for `None`."""
        model: Any = self.unlearner.accelerator.unwrap_model(self.unlearner.model)
        with evaluated(model):
            if weights is None:
                return outputs_of(model, inputs)
            with weights.in_place(model):
                return outputs_of(model, inputs)

    def _table(self) -> torch.Tensor:
        count = len(self.inputs.forget_set())
        with torch.random.fork_rng(devices=[]), self.unlearner.compute_loss_context_manager():
            batches = ((index, self.inputs.of(inputs)) for index, inputs in self.inputs.batches(count))
            return table_of(batches, lambda inputs: self.answer(self.rewound, inputs), count)


class _Teachers:
    """The original and the rewound model, for surrogates that are made with them."""

    def __init__(self, recovery: Recovery) -> None:
        self.model: Any = recovery.unlearner.accelerator.unwrap_model(recovery.unlearner.model)
        self._recovery = recovery

    @contextmanager
    def original(self) -> Iterator[None]:
        with evaluated(self.model), self._recovery.original.in_place(self.model):
            yield

    @contextmanager
    def rewound(self) -> Iterator[None]:
        with evaluated(self.model), self._recovery.rewound.in_place(self.model):
            yield


def is_chosen(args: UnlearningArguments) -> bool:
    """Whether `recovery_steps` was given, and does not follow from the method."""
    return args.recovery_steps is not None and not isinstance(args.recovery_steps, DerivedSteps)


def steps_of(args: UnlearningArguments, method: type[Unlearner]) -> int:
    """Optimizer steps of one recovery: `recovery_steps`, or what the method does by default."""
    if is_chosen(args):
        return cast(int, args.recovery_steps)
    steps = method.default_recovery_steps
    return steps if args.max_forget_steps is None else min(steps, args.max_forget_steps // 2)


def _outputs_of_head(model: Any, head: str | None) -> str:
    """What the outputs of a model are, see [`divergence`]."""
    if getattr(model, "answers", None) == NUMBERS:
        return NUMBERS
    problem = getattr(getattr(model, "config", None), "problem_type", None)
    if head is None and problem == "multi_label_classification":
        return LABELS
    return NUMBERS if head is None and problem == "regression" else CLASSES


def _check_labels(head: str | None, inputs: Mapping[str, Any], surrogates: Surrogates) -> None:
    """
    Raises:
        ValueError: There are no labels of classes to take out, or surrogates are not each of one example.
    """
    if head != ONE_CLASS or "labels" not in inputs:
        raise ValueError("`recovery_without_labels` needs examples with one class each under `labels`; leave it out.")
    if not getattr(surrogates, "one_to_one", False):
        raise ValueError(
            f"`recovery_without_labels` needs surrogates that are each near one example, got {surrogates.name}; use "
            "'shifted', 'noisy' or 'adversarial'."
        )


def _tried(problem: str, make: Callable[[], Any]) -> Any:
    """
    Raises:
        ValueError: What is made fails; the message begins with `problem`.
    """
    try:
        return make()
    except FAILURES as error:
        raise ValueError(f"{problem} ({in_words(error)}); or set `recovery_steps=0`.") from error


def _can_be_joined(rows: Mapping[str, Any], near: Mapping[str, Any]) -> bool:
    """Whether two batches have the same inputs, of the same shapes but for their numbers of rows."""
    return rows.keys() == near.keys() and all(
        torch.is_tensor(value) and torch.is_tensor(near[name]) and value.shape[1:] == near[name].shape[1:]
        for name, value in rows.items()
    )


__all__ = ["Recovery", "is_chosen", "steps_of"]
