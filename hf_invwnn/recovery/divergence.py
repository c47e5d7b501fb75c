"""How far the answers of two models are apart: the terms of the loss of recovery."""

from __future__ import annotations

import torch
from torch.nn import functional


# What the outputs of a model are: logits of classes, of independent labels, or numbers.
CLASSES, LABELS, NUMBERS = OUTPUTS = ("classes", "labels", "numbers")


def divergence(
    teacher: torch.Tensor,
    student: torch.Tensor,
    outputs: str = CLASSES,
    temperature: float = 1.0,
    counted: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""
    The divergence of the answers of a student from those of a teacher, a mean over the positions that count:

        classes     T^2 KL( softmax(teacher / T) || softmax(student / T) ),   over the last dimension
        labels      the same for a Bernoulli variable per label, summed over the last dimension
        numbers     1/2 (teacher - student)^2, the mean over all dimensions but the first

    Args:
        teacher (`torch.Tensor`), student (`torch.Tensor`): Outputs of the same shape, `(N, ..., C)`.
        outputs (`str`, defaults to `"classes"`): What they are, one of [`OUTPUTS`].
        temperature (`float`, defaults to 1.0): T; not used for numbers.
        counted (`torch.Tensor` of shape `(N, ...)`, *optional*): Whether a position counts; all do by default.

    Returns:
        `torch.Tensor`: A scalar; 0 if no position counts.
    """
    teacher, student = teacher.float(), student.float()
    if outputs == NUMBERS:
        each = 0.5 * (teacher - student).square().flatten(1).mean(dim=1)
        return each.mean()
    teacher, student = teacher / temperature, student / temperature
    if outputs == LABELS:
        target = teacher.sigmoid()
        apart = target * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
        each = (apart + (1 - target) * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))).sum(-1)
    else:
        logs = (functional.log_softmax(student, dim=-1), functional.log_softmax(teacher, dim=-1))
        each = functional.kl_div(*logs, reduction="none", log_target=True).sum(-1)
    each = each * temperature**2
    if counted is None:
        return each.mean()
    return (each * counted).sum() / counted.sum().clamp(min=1)


def without_label(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    Logits whose softmax is 0 at the label and keeps the proportions of the other classes.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`), labels (`torch.Tensor` of shape `(N,)`): Logits and labels.
    """
    # The smallest number in place of -infinity, whose divergence would be 0 times infinity.
    lowest = torch.finfo(torch.float32).min / 2
    return logits.float().scatter(1, labels[:, None], lowest)


__all__ = ["CLASSES", "LABELS", "NUMBERS", "OUTPUTS", "divergence", "without_label"]
