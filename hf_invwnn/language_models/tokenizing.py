"""Texts as token ids whose labels are those of the answer alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..metrics.token_log_probs import IGNORED
from .texts import TextExample


def tokenize_texts(
    texts: Sequence[TextExample],
    tokenizer: Any,
    chat_template: bool | None = None,
    max_length: int | None = None,
    name: str = "forget",
) -> Any:
    """
    Token ids of texts. The labels of a prompt are -100, so that the loss is on answers only. An end-of-text token, if
    the tokenizer has one, is part of the answer.

    Args:
        texts (`Sequence[TextExample]`): The texts.
        tokenizer (`PreTrainedTokenizerBase`): The tokenizer of the model.
        chat_template (`bool`, *optional*): Whether prompts are messages of a user in the chat template of the
            tokenizer; by default if it has one.
        max_length (`int`, *optional*): The longest sequence that the model takes, in tokens.
        name (`str`, defaults to `"forget"`): The argument that error messages name.

    Returns:
        `datasets.Dataset`: `input_ids`, `attention_mask` and `labels`, one row a text, not padded.

    Raises:
        ValueError: A text is longer than `max_length`, or a chat template is asked for and missing.
    """
    from datasets import Dataset

    if chat_template and not getattr(tokenizer, "chat_template", None):
        raise ValueError("`chat_template` is asked for, but the tokenizer has none: leave it out, or give it one.")
    if chat_template is None:
        chat_template = bool(getattr(tokenizer, "chat_template", None))
    rows = [_tokens(text, tokenizer, chat_template) for text in texts]
    lengths = [len(prompt) + len(answer) for prompt, answer in rows]
    if max_length is not None and max(lengths) > max_length:
        long = sum(length > max_length for length in lengths)
        raise ValueError(
            f"`{name}`: {long} of {len(rows)} texts have more than {max_length} tokens (the longest {max(lengths)}); "
            "split them, since what is cut off would not be forgotten."
        )
    return Dataset.from_dict(
        {
            "input_ids": [prompt + answer for prompt, answer in rows],
            "attention_mask": [[1] * length for length in lengths],
            "labels": [[IGNORED] * len(prompt) + answer for prompt, answer in rows],
        }
    )


def prompt_tokens(text: TextExample, tokenizer: Any, chat_template: bool) -> list[int]:
    """The token ids of all that comes before an answer."""
    if not text.prompt:
        begins = getattr(tokenizer, "bos_token_id", None)
        return [] if begins is None else [begins]
    if not chat_template:
        return list(tokenizer(text.prompt)["input_ids"])
    message = [{"role": "user", "content": text.prompt}]
    words = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(words, add_special_tokens=False)["input_ids"])


def _tokens(text: TextExample, tokenizer: Any, chat_template: bool) -> tuple[list[int], list[int]]:
    between = "" if chat_template or not text.prompt or text.prompt[-1].isspace() else " "
    answer = list(tokenizer(between + text.answer, add_special_tokens=False)["input_ids"])
    end = getattr(tokenizer, "eos_token_id", None)
    return prompt_tokens(text, tokenizer, chat_template), answer if end is None else [*answer, end]


__all__ = ["prompt_tokens", "tokenize_texts"]
