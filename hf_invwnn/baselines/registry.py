"""All methods by name, with what each sees and the parameter of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..base_unlearner import Unlearner
from ..training_args import UnlearningArguments
from ..unlearner import InvWNNUnlearner
from .boundary import BoundaryExpandUnlearner, BoundaryShrinkUnlearner
from .fine_tuning import FineTuningUnlearner
from .neg_grad import NegGradUnlearner
from .neg_grad_plus import NegGradPlusUnlearner
from .random_label import RandomLabelUnlearner
from .salun import SalUnUnlearner
from .scrub import ScrubUnlearner
from .ssd import SSDUnlearner
from .task_vector import TaskVectorUnlearner


@dataclass(frozen=True)
class Method:
    """
    One way to unlearn.

    Args:
        title (`str`): What tables call it.
        unlearner (`type`): Its class.
        rewinds (`bool`, defaults to `False`): Whether it records trajectories, and `residual_scale` means something.
    """

    title: str
    unlearner: type[Unlearner]
    rewinds: bool = False

    @property
    def needs_retain(self) -> bool:
        """Whether it learns from retained examples; the others are forget-only."""
        return getattr(self.unlearner, "needs_retain", False)

    @property
    def needs_labels(self) -> bool:
        """Whether the task must have class labels."""
        return getattr(self.unlearner, "needs_labels", False)


METHODS: dict[str, Method] = {
    "invwnn": Method("InvWNN", InvWNNUnlearner, rewinds=True),
    "task_vector": Method("Task Vector", TaskVectorUnlearner, rewinds=True),
    "random_label": Method("Random Label", RandomLabelUnlearner),
    "salun": Method("SalUn", SalUnUnlearner),
    "boundary_shrink": Method("Boundary Shrink", BoundaryShrinkUnlearner),
    "boundary_expand": Method("Boundary Expand", BoundaryExpandUnlearner),
    "neg_grad": Method("NegGrad", NegGradUnlearner),
    "fine_tuning": Method("Fine-tuning", FineTuningUnlearner),
    "neg_grad_plus": Method("NegGrad+", NegGradPlusUnlearner),
    "scrub": Method("SCRUB", ScrubUnlearner),
    "ssd": Method("SSD", SSDUnlearner),
}


def find_method(name: str) -> Method:
    """
    The method of a name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {name!r}.")
    return METHODS[name]


def make_unlearner(
    name: str,
    model: nn.Module,
    args: UnlearningArguments,
    forget_dataset: Any,
    retain_dataset: Any = None,
    **kwargs: Any,
) -> Unlearner:
    """
    The unlearner of a method.

    Args:
        name (`str`): One of `METHODS`.
        model (`nn.Module`), args ([`UnlearningArguments`]), forget_dataset (`Dataset`): As [`Unlearner`] takes them.
        retain_dataset (`Dataset`, *optional*): D_r. Handed on to a method that learns from it, and to no other.
        kwargs: The other arguments of the unlearner, the method's own among them.

    Raises:
        ValueError: There is no such method, or it cannot work with what it is given.
    """
    method = find_method(name)
    if method.needs_retain:
        kwargs["retain_dataset"] = retain_dataset
    return method.unlearner(model, args, forget_dataset, **kwargs)


__all__ = ["METHODS", "Method", "find_method", "make_unlearner"]
