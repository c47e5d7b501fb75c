"""What the labels of a model answer: a class per example, a class per token, the next token, or none of these."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.models.auto import modeling_auto as auto


# The kinds of a head. In "tokens" and "next token" a label is a word of the vocabulary and not a class.
CLASSES, TOKEN_CLASSES, TOKENS, NEXT_TOKEN = "class", "token class", "token", "next token"

# Decoders whose loss compares the logits at a position with the label at the same position.
_UNSHIFTED = frozenset(
    f"{family}ForCausalLM"
    for family in (
        *("Bart", "BigBirdPegasus", "Blenderbot", "BlenderbotSmall", "MBart", "Marian", "Mvp"),
        *("PLBart", "Pegasus", "ProphetNet", "TrOCR", "Whisper"),
    )
) | {"XLNetLMHeadModel", "XLMWithLMHeadModel"}


def head_of(model: nn.Module) -> str | None:
    """
    What the labels of a model answer.

    Args:
        model (`nn.Module`): A model of transformers, an adapter of PEFT around one, or another module.

    Returns:
        `str` or `None`: `"class"`, `"token class"`, `"token"` (masked and encoder-decoder language models) or `"next
        token"` (causal language models, whose logits at a position answer for the label after it). `None` for a head
        with another kind of label (several labels, regression, answers, boxes), and for a module of unknown kind.
    """
    inner: Any = _without_adapter(model)
    name, config = type(inner).__name__, getattr(inner, "config", None)
    if _is_in(name, "CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM") or name.endswith("ForCausalLM"):
        in_place = name in _UNSHIFTED or getattr(config, "is_encoder_decoder", False)
        return TOKENS if in_place else NEXT_TOKEN
    if _is_in(name, "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ"):
        return TOKENS
    if _is_in(name, "TOKEN_CLASSIFICATION") or name.endswith("ForTokenClassification"):
        return TOKEN_CLASSES
    if _is_in(name, "MULTIPLE_CHOICE", "NEXT_SENTENCE_PREDICTION"):
        return CLASSES
    if "Classification" not in name or "Frame" in name or getattr(config, "num_labels", 2) < 2:
        return None
    return CLASSES if getattr(config, "problem_type", None) in (None, "single_label_classification") else None


def may_have_accuracy(model: nn.Module) -> bool:
    """Whether an accuracy is defined for a model: it is not for a head of transformers without classes or tokens."""
    return head_of(model) is not None or not type(_without_adapter(model)).__module__.startswith("transformers.")


def _without_adapter(model: nn.Module) -> Any:
    base = getattr(model, "get_base_model", None)
    return base() if callable(base) else model


def _is_in(name: str, *tasks: str) -> bool:
    return any(name in getattr(auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {}).values() for task in tasks)


__all__ = ["CLASSES", "NEXT_TOKEN", "TOKENS", "TOKEN_CLASSES", "head_of", "may_have_accuracy"]
