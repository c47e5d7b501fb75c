"""The methods by name: those of the package, and those that other packages register by an entry point."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from torch import nn

from ..trainer.arguments import UnlearningArguments
from ..trainer.unlearner import Unlearner
from .amun import AMUNUnlearner
from .anchored_task_vector import AnchoredTaskVectorUnlearner
from .boundary import BoundaryExpandUnlearner, BoundaryShrinkUnlearner
from .controls import GaussianNoiseUnlearner, PruningUnlearner
from .delete import DeleteUnlearner
from .fine_tuning import FineTuningUnlearner
from .invwnn import InvWNNUnlearner
from .jit import JiTUnlearner
from .l2ul import L2ULUnlearner
from .mu_mis import MUMisUnlearner
from .neg_grad import NegGradUnlearner
from .neg_grad_plus import NegGradPlusUnlearner
from .neg_merge import NegMergeUnlearner
from .npo import NPOUnlearner
from .random_label import RandomLabelUnlearner
from .rmu import RMUUnlearner
from .salun import SalUnUnlearner
from .scrub import ScrubUnlearner
from .self_distillation import SelfDistillationUnlearner
from .sim_npo import SimNPOUnlearner
from .ssd import SSDUnlearner
from .task_vector import TaskVectorUnlearner


# Another package registers a method in its pyproject.toml: `[project.entry-points."hf_invwnn.methods"]`, then
# `name = "module:Class"`, where the class is a subclass of `Unlearner`.
ENTRY_POINT_GROUP = "hf_invwnn.methods"

METHODS: dict[str, type[Unlearner]] = {
    "invwnn": InvWNNUnlearner,
    "task_vector": TaskVectorUnlearner,
    "random_label": RandomLabelUnlearner,
    "salun": SalUnUnlearner,
    "boundary_shrink": BoundaryShrinkUnlearner,
    "boundary_expand": BoundaryExpandUnlearner,
    "neg_grad": NegGradUnlearner,
    "npo": NPOUnlearner,
    "sim_npo": SimNPOUnlearner,
    "delete": DeleteUnlearner,
    "self_distillation": SelfDistillationUnlearner,
    "l2ul": L2ULUnlearner,
    "amun": AMUNUnlearner,
    "mu_mis": MUMisUnlearner,
    "jit": JiTUnlearner,
    "neg_merge": NegMergeUnlearner,
    "anchored_task_vector": AnchoredTaskVectorUnlearner,
    "fine_tuning": FineTuningUnlearner,
    "neg_grad_plus": NegGradPlusUnlearner,
    "scrub": ScrubUnlearner,
    "rmu": RMUUnlearner,
    "ssd": SSDUnlearner,
    "gaussian_noise": GaussianNoiseUnlearner,
    "pruning": PruningUnlearner,
}


def method_names() -> list[str]:
    """Names of all methods; those of the package first."""
    registered = sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))
    return list(dict.fromkeys([*METHODS, *registered]))


def find_method(name: str) -> type[Unlearner]:
    """
    The class of a method.

    Args:
        name (`str`): One of [`method_names`]. A name of the package cannot be taken by another package.

    Raises:
        ValueError: No method has this name; the message lists all names.
        TypeError: Another package registered something that is not a subclass of [`Unlearner`].
    """
    if name in METHODS:
        return METHODS[name]
    registered = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not registered:
        raise ValueError(f"`method` must be one of {', '.join(method_names())}, got {name!r}.")
    method = registered[0].load()
    if not (isinstance(method, type) and issubclass(method, Unlearner)):
        raise TypeError(
            f"`method`: {name!r} is registered as `{registered[0].value}`, which is not a subclass of Unlearner."
        )
    return method


def make_unlearner(
    name: str,
    model: nn.Module,
    args: UnlearningArguments,
    forget_dataset: Any,
    retain_dataset: Any = None,
    **kwargs: Any,
) -> Unlearner:
    """
    Makes the unlearner of a method.

    Args:
        name (`str`): One of [`method_names`].
        model (`nn.Module`), args ([`UnlearningArguments`]), forget_dataset (`Dataset`): As for [`Unlearner`].
        retain_dataset (`Dataset`, *optional*): D_r; passed on only to a method that trains on it.
        kwargs: Other arguments of the unlearner, and those of the method.

    Raises:
        ValueError: No method has this name, or it cannot work with its arguments.
    """
    method = find_method(name)
    if method.needs_retain:
        kwargs["retain_dataset"] = retain_dataset
    return method(model, args, forget_dataset, **kwargs)


__all__ = ["METHODS", "find_method", "make_unlearner", "method_names"]
